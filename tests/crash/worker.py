"""Keeps workers that die at the worst places alive, as it is told, until its input ends.

A process of its own: python -m tests.crash.worker. It reads lines of JSON, {"roles": […],
"seed": …, "mutant": …, "calm": …}; each ends what runs, starts these, and is answered with a line.
"""

import json
import os
import random
import select
import signal
import sys
import time
from importlib import import_module

import django


class Nursery:
    """Children by role; who dies is replaced, and now and then one is killed."""

    def __init__(self, work):
        self.work = work
        self.children = {}
        self.order = {"roles": [], "seed": 0, "mutant": "none", "calm": True}
        self.chance = random.Random(0)
        self.kill_at = float("inf")

    def obey(self, order):
        for child in self.children:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
        self.children, self.order = {}, order
        self.chance = random.Random(order["seed"])
        for role in order["roles"]:
            self.bear(role)
        self.aim()

    def bear(self, role):
        seed = self.chance.random()
        child = os.fork()
        if child == 0:
            self.work(role, random.Random(seed), self.order["mutant"], self.order["calm"])
        self.children[child] = role

    def aim(self):
        pause = float("inf") if self.order["calm"] else self.chance.uniform(0.3, 1.5)
        self.kill_at = time.monotonic() + pause

    def look(self):
        """Replace who has died; kill one if it is time."""
        if self.children and time.monotonic() > self.kill_at:
            os.kill(self.chance.choice([*self.children]), signal.SIGKILL)
            self.aim()
        for child in [*self.children]:
            if os.waitpid(child, os.WNOHANG) != (0, 0):
                self.bear(self.children.pop(child))


def main():
    django.setup()
    nursery = Nursery(import_module("tests.crash.roles").work)  # needs what was set up
    while True:
        if select.select([sys.stdin], [], [], 0.02)[0]:
            line = sys.stdin.readline()
            nursery.obey(json.loads(line) if line else nursery.order | {"roles": []})
            if not line:
                return
            sys.stdout.write("done\n")
            sys.stdout.flush()
        nursery.look()


if __name__ == "__main__":
    main()
