#!/usr/bin/python3
"""Runs the end-to-end tests: one lab for all, a fresh station for each file.

    sudo tests/e2e/run.py [--results FILE] [NN[:WORD] ...]

A test file is `NN_name.py`; its functions `test_*` run in the order in which they stand there, or those
alone whose names have the word. After each file the books must balance: received = forwarded + slow path + drops for each VIF and port. `begin`
and `end`, where a file has them, run around its tests.
"""

import argparse
import importlib.util
import os
import pathlib
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path[:0] = [str(HERE), str(HERE.parent / "lab")]

import case  # noqa: E402
import lab  # noqa: E402
import ledger  # noqa: E402
import station  # noqa: E402


def load(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def balance():
    if station.running():
        case.silence()
        faults = ledger.quiet().unbalanced()
        case.expect(faults, [], "the books after the file")


def hosts():
    return {host.name: lab.addresses_and_routes(host) for host in lab.HOSTS.values()}


def left_behind(known):
    """What a file leaves of hosts' addresses and routes would be in the way of the next ones. It is known from then on."""
    now = hosts()
    left = {name: sorted({*now[name]} ^ {*known[name]}) for name in now if now[name] != known[name]}
    known.update(now)
    case.expect(left, {}, "hosts' addresses and routes, otherwise than before the file")


def run_file(path, word, report, known):
    try:
        module = load(path)
        case.fresh()
        getattr(module, "begin", lambda: None)()
    except Exception:  # noqa: BLE001
        report("FAIL", path.stem, "cannot start", 0, traceback.format_exc())
        return
    tests = [(name, value) for name, value in vars(module).items() if name.startswith("test_") and word in name]
    for name, test in [*tests, ("the_books_balance", balance)]:
        start = time.monotonic()
        try:
            test()
            report("ok", path.stem, name, time.monotonic() - start)
        except case.Skip as reason:
            report("skipped", path.stem, name, 0, str(reason))
        except Exception:  # noqa: BLE001
            report("FAIL", path.stem, name, time.monotonic() - start, traceback.format_exc())
    getattr(module, "end", lambda: None)()
    try:
        left_behind(known)
    except AssertionError as left:
        report("FAIL", path.stem, "leaves hosts as they were", 0, str(left))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", metavar="FILE", help="write a line for each test")
    parser.add_argument("only", nargs="*", metavar="NN[:WORD]", help="these files, or of a file the tests with a word in their names")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("run.py: needs root")
    lines = []

    def report(state, file, name, seconds, detail=""):
        label = f"{file}: {name.removeprefix('test_').replace('_', ' ')}"
        print(f"{state:7} {label:80} {seconds:6.1f} s{'' if state == 'ok' else '   ' + detail}", flush=True)
        lines.append(f"{state} {label}{': ' + detail if state == 'skipped' else ''}")

    lab.lock(wait=True)
    try:
        lab.up()
        known = hosts()
        for path in sorted(HERE.glob("[0-9][0-9]_*.py")):
            for only in options.only or [""]:
                prefix, _, word = only.partition(":")
                if path.stem.startswith(prefix):
                    run_file(path, word, report, known)
    finally:
        try:
            station.stop()
        finally:
            lab.down()
    if options.results:
        pathlib.Path(options.results).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return 1 if any(line.startswith("FAIL") for line in lines) else 0


if __name__ == "__main__":
    sys.exit(main())
