"""How far a long check is: `k of n`, the time, what runs. As a pytest plugin it says so in place of dots."""
import threading
import time

import pytest

PAUSE = 20  # seconds without a word, at most


class Progress:
    "Says how many of `total` are done and what runs: every PAUSE seconds and, if `each`, whenever one ends."
    def __init__(self, total, what, each=False):
        self.total, self.what, self.each, self.done = total, what, each, 0
        self.start, self.running = time.monotonic(), {}
        self.ended = threading.Event()

    def __enter__(self):
        self.thread = threading.Thread(target=self._talk, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.ended.set()
        self.thread.join()

    def begin(self, name): self.running[name] = time.monotonic()

    def end(self, name, what=None):
        self.done += 1
        took = time.monotonic() - self.running.pop(name, self.start)
        if self.each: self.say(f'{what or name} ({took:.0f} s)')

    def say(self, what):
        seconds = time.monotonic() - self.start
        print(f'  {self.done:>3} of {self.total} {self.what}, {seconds:3.0f} s: {what}', flush=True)

    def _talk(self):
        while not self.ended.wait(PAUSE):
            if running := sorted(self.running, key=self.running.get): self.say(f"{', '.join(running)} …")


class Dotless:
    "pytest's hooks; with several workers, in the process that hands out the tests."
    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session):
        self.session, self.progress = session, Progress(session.testscollected, 'tests')
        self.progress.__enter__()

    def pytest_sessionfinish(self):
        if hasattr(self, 'progress'): self.progress.__exit__()

    def pytest_runtest_logstart(self, nodeid):
        self.progress.total = self.session.testscollected  # workers collect after the loop has begun
        self.progress.begin(nodeid)

    def pytest_runtest_logreport(self, report):
        if report.when == 'teardown': self.progress.end(report.nodeid)

    @pytest.hookimpl(wrapper=True)
    def pytest_report_teststatus(self, report):
        kind, letter, word = yield
        if letter in ('F', 'E'): self.progress.say(f'{report.nodeid} FAILED')
        return kind, '', word


def pytest_configure(config):
    if not hasattr(config, 'workerinput'): config.pluginmanager.register(Dotless())
