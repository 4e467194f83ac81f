// A function for serverless-offline. Numbered events wait for the file `gate` and leave their number in the file `ran`.
const fs = require("fs");
const here = "@directory@";

exports.handle = async (event) => {
  if (event.number) {
    while (!fs.existsSync(here + "/gate")) await new Promise((resolve) => setTimeout(resolve, 50));
    fs.appendFileSync(here + "/ran", event.number + "\n");
  }
  return "done";
};
