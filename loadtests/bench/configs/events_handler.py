"""Defines a function for MiniStack. Numbered events wait for the file `gate` and write their number to `ran`."""

import os
import time

HERE = "@directory@"


def handle(event, context):
    if "number" in event:
        while not os.path.exists(HERE + "/gate"):
            time.sleep(0.05)
        with open(HERE + "/ran", "a") as ran:
            ran.write(event["number"] + "\n")
    return "done"
