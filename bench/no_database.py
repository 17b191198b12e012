"""The web server, but its collection view stores nothing: python -m bench.no_database PORT"""

import os
import sys

import django

if __name__ == "__main__":
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "cdp.settings")
    django.setup()
    from cdp import web
    from events import inbox, throttle

    inbox.accept = lambda *_, **__: True  # the workers are forked from here
    throttle.ask = lambda *_, **__: 0
    web.serve(web.listen("127.0.0.1", int(sys.argv[1])))
