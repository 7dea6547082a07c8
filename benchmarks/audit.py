"""How long the audit takes: `python -m benchmarks.audit --orders 100000`.

Starts its own embedded database, fills it with finished orders, and audits them.
"""

import argparse
import asyncio
import resource
import tempfile
import time
from pathlib import Path

from benchmarks.filling import fill
from events.catalogue import SERVICES
from local_stack.mongodb_node import DatabaseNode
from saga import logs
from verification.audit.auditor import audit
from verification.audit.reader import databases_at

MAX_ORDERS = 1_000_000


def main() -> None:
    """Fill, audit, and print how long each takes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000, help=f"at most {MAX_ORDERS:,}")
    logs.configure("benchmark", "warning")
    orders = min(parser.parse_args().orders, MAX_ORDERS)
    with tempfile.TemporaryDirectory() as directory:
        node = DatabaseNode(Path(directory))
        node.start()
        try:
            node.wait_ready()
            databases = databases_at(dict.fromkeys(SERVICES, node.url))
            started = time.monotonic()
            asyncio.run(fill(databases, orders))
            print(f"filled with {orders} orders in {time.monotonic() - started:.1f} s", flush=True)
            report = audit(databases, at_rest=True)
        finally:
            node.kill()
    assert report.ok, report.broken
    assert report.judged == orders, report
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{orders / report.seconds:.0f} orders a second, at most {megabytes:.0f} MB of memory")


if __name__ == "__main__":
    main()
