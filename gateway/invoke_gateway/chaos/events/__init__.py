"""`prove --events`: are asynchronous invocations run at least once, never lost, rarely twice? Judged from outside."""
