"""One of the libraries for Python sends numbered events: at first a burst, then one by one.

python python_client.py CLIENT HOST KEY PREFIX BURST STEADY; prints "steady" in between and "done".
"""

import sys
import time

from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client as SegmentClient

client, host, key, prefix, burst, steady = sys.argv[1:]
user = f"{prefix} user"


def say(text):
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def complain(error, batch):
    say(f"error {error!r}")


options = {"host": host, "upload_size": 5, "max_retries": 30, "on_error": complain}
if client == "segment-python":
    analytics = SegmentClient(key, **options)
else:
    analytics = RudderClient(key, **options)
email = f"{prefix.replace(' ', '-')}@example.com"
analytics.identify(user, {"email": email}, anonymous_id=f"{prefix} a")
for n in range(int(burst)):
    analytics.track(user, f"{prefix} {n}")
say("steady")
for n in range(int(steady)):
    time.sleep(0.1)
    analytics.track(user, f"{prefix} {int(burst) + n}")
analytics.flush()
analytics.join()
say("done")
