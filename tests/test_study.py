"""What a notebook cannot test: worker processes share a study, one is killed in the middle of a trial, and a
dashboard shows what they did."""
import glob
import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from types import SimpleNamespace
from urllib.request import urlopen

import numpy as np
import pytest

EXTRA = "needs the extra: pip install 'cosine_lr[search]'"
if not os.environ.get('CI'): pytest.importorskip('optuna', reason=EXTRA)  # in CI, the imports below fail
from cosine_lr.data import digits_dls  # noqa: E402
from cosine_lr.schedule import cosine  # noqa: E402
from cosine_lr.lab.search import KnotSpace, _Search, search_schedule  # noqa: E402
from cosine_lr.lab.study import SimulatedAnnealingSampler, finished_trials, make_sampler  # noqa: E402
from cosine_lr.lab.study import new_study, printable, work  # noqa: E402

pytestmark = pytest.mark.slow


def missing(what):
    "Where a tool is missing, CI fails, and others skip the test."
    if os.environ.get('CI'): pytest.fail(what)
    pytest.skip(what)

WORKER = '''
import os, sys, time
from cosine_lr.lab.study import SimulatedAnnealingSampler, new_study, work
storage, budget, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
print('ready', flush=True)
input()
def objective(trial):
    trial.set_user_attr('pid', os.getpid())
    x, lr = trial.suggest_float('x', -5, 5), trial.suggest_float('lr', 1e-3, 1e1, log=True)
    time.sleep(seconds)
    return x**2 + (lr - 1)**2
work(new_study(storage, 'shared', SimulatedAnnealingSampler(budget, seed=1), heartbeat=2), objective, budget)
'''


@pytest.fixture(params=['sqlite', 'postgresql'])
def storage(request, tmp_path):
    if request.param == 'sqlite': yield str(tmp_path/'study.db')
    else: yield from postgres()


def postgres():
    "Start a PostgreSQL server on loopback, installing Debian's package if there is none; stop it afterwards."
    try: import psycopg  # noqa: F401
    except ImportError: missing('psycopg is not installed')
    root = os.name == 'posix' and os.getuid() == 0
    if not servers() and root and shutil.which('apt-get'):
        subprocess.run(['apt-get', 'update', '-qq'], check=True)
        install = ['apt-get', 'install', '-qq', '-y', '--no-install-recommends', 'postgresql']
        subprocess.run(install, check=True, env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})
    if not servers(): missing('there is no PostgreSQL server, and no apt-get as root to install one')
    port, folder = free_port(), tempfile.mkdtemp()  # not pytest's: it closes its folders to other users
    who = ['runuser', '-u', 'postgres', '--'] if root else []  # the server refuses to run as root
    if root: shutil.chown(folder, 'postgres')
    tool = lambda name: [*who, f'{servers()[-1]}/{name}', '-D', f'{folder}/data']
    run = lambda *command: subprocess.run(command, check=True, stdout=subprocess.DEVNULL, cwd='/')
    run(*tool('initdb'), '-U', 'tester', '--auth=trust', '--no-sync')
    options = f'-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off'
    run(*tool('pg_ctl'), '-w', '-l', f'{folder}/log', '-o', options, 'start')
    try: yield f'postgresql://tester@127.0.0.1:{port}/postgres'
    finally:
        run(*tool('pg_ctl'), '-w', '-m', 'immediate', 'stop')
        shutil.rmtree(folder)


def servers():
    "Folders with a PostgreSQL server's programs."
    on_path = shutil.which('initdb')
    return sorted(glob.glob('/usr/lib/postgresql/*/bin')) or ([os.path.dirname(on_path)] if on_path else [])


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def start(storage, budget, *seconds, worker=WORKER):
    "A worker for each length of a trial; they begin together once all have imported what they need."
    commands = [[sys.executable, '-c', worker, storage, str(budget), str(length)] for length in seconds]
    pipes = dict(stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    workers = [subprocess.Popen(command, **pipes) for command in commands]
    for worker in workers: assert worker.stdout.readline() == 'ready\n'
    for worker in workers: print(file=worker.stdin, flush=True)
    return workers


def until(condition, seconds=60):
    "What the condition answers once that is true"
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f'not so after {seconds} seconds'
        time.sleep(.1)
    return answer


def complete(study): return [t for t in study.get_trials() if t.state.name == 'COMPLETE']
def finished(study): return {t.number: (t.value, t.params) for t in complete(study)}


def in_hand(study, worker):
    "The trials that a worker is busy with, once their parameters are known"
    running = [t for t in study.get_trials() if t.state.name == 'RUNNING' and len(t.params) == 2]
    return [t for t in running if t.user_attrs['pid'] == worker.pid]


def test_four_workers_and_a_killed_one(storage):
    workers = start(storage, 48, 1, 1, 1, 600)
    *others, victim = workers
    try:
        study = new_study(storage, 'shared', SimulatedAnnealingSampler(48, seed=1), heartbeat=2)
        lost, = until(lambda: len(complete(study)) >= 8 and in_hand(study, victim))
        victim.send_signal(signal.SIGKILL)
        victim.wait()
        before = finished(study)
        for worker in others: assert worker.wait(timeout=120) == 0
    finally:
        for worker in workers: worker.kill()
    after = finished(study)
    assert {number: after[number] for number in before} == before               # nothing finished is lost
    assert 48 <= len(after) <= 50                                           # three workers may finish at once
    assert {t.user_attrs.get('pid') for t in study.get_trials()} - {None} == {w.pid for w in workers}
    assert study.get_trials()[lost.number].state.name == 'FAIL'
    retried = [t for t in study.get_trials() if t.system_attrs.get('failed_trial') == lost.number]
    # SQLite has no row locks: two workers may see the loss at the same time, and each queues the trial again
    assert len(retried) == 1 or retried and not str(storage).startswith('postgresql')
    assert all(t.params == lost.params for t in retried) and retried[0].state.name == 'COMPLETE'
    assert min(value for value, _ in after.values()) < 2
    more, = start(storage, 53, 0)                                            # the study is still of use
    assert more.wait(timeout=60) == 0 and len(finished(study)) >= 53


@pytest.mark.parametrize('method', ['annealing', 'random', 'tpe'])
def test_workers_do_not_repeat_each_other(method, tmp_path):
    sampler = f'make_sampler({method!r}, budget, 1)'
    worker = WORKER.replace('SimulatedAnnealingSampler(budget, seed=1)', sampler)
    worker = worker.replace('import SimulatedAnnealingSampler,', 'import make_sampler,')
    file = str(tmp_path/'study.db')
    for w in start(file, 30, .2, .2, .2, worker=worker): assert w.wait(timeout=120) == 0
    trials = new_study(file, 'shared', make_sampler(method, 30, 1)).get_trials()
    assert len(trials) >= 30 and len({t.user_attrs['pid'] for t in trials}) == 3
    assert len({tuple(sorted(t.params.items())) for t in trials}) == len(trials)


def square(trial): return trial.suggest_float('x', -1, 1)**2


def test_a_trial_without_a_number_is_told(tmp_path):
    study = new_study(tmp_path/'study.db', 'shared', make_sampler('annealing', 5, 0))      # a `Path` will do
    with pytest.raises(ValueError, match='trial 0 gave none'): work(study, lambda trial: math.nan, 5)
    assert len(work(study, square, 5)) == 5 == finished_trials(tmp_path/'study.db', 'shared')


@pytest.mark.parametrize('wrong, told', [
    (lambda: make_sampler('grid', 10, 0), "method must be 'annealing', 'random' or 'tpe', got method='grid'"),
    (lambda: SimulatedAnnealingSampler(10, accept=None), 'accept must be a fraction between 0 and 1'),
    (lambda: SimulatedAnnealingSampler(True), 'n_trials must be a whole number'),
    (lambda: SimulatedAnnealingSampler(0), 'n_trials must be a whole number, at least 1, got n_trials=0'),
    (lambda: SimulatedAnnealingSampler(10, temperature=cosine(1, -1)),
     'temperature must be finite and at least 0'),
    *((lambda place=place: finished_trials(place, 'bowl'), f'got .*{place}.*, which is in memory')
      for place in ('sqlite://', ':memory:')),
    (lambda: new_study('', 'shared', make_sampler('random', 5, 0)), 'storage must be a path'),
    (lambda: new_study(None, None, make_sampler('random', 5, 0)), 'name must be'),
    (lambda: new_study(None, 'shared', 'tpe'), "sampler must be one of Optuna's"),
    (lambda: finished_trials('', 'shared'), 'storage must be a path'),
])
def test_wrong_studies(wrong, told):
    with pytest.raises(ValueError, match=told): wrong()


def test_a_password_is_not_printed():
    for place, error in (('127.0.0.1:1/none', OSError), ('host:port/none', ValueError)):
        assert 'cret' not in told_of(f'postgresql://me:se%40cret@{place}', error)
    assert 'cret' not in told_of('nosuch://me:se%40cret@host/none', OSError)
    assert printable('postgresql://me:se%40cret@host/name') == 'postgresql+psycopg://me:***@host/name'
    assert printable('a/study.db') == 'a/study.db'


def told_of(storage, error):
    "What is said of a storage that cannot be opened."
    with pytest.raises(error, match='storage') as told:
        new_study(storage, 'shared', make_sampler('random', 5, 0))
    return str(told.value)


def test_the_dashboard_shows_a_study(tmp_path):
    beside = shutil.which('optuna-dashboard', path=os.path.dirname(sys.executable))
    command = beside or shutil.which('optuna-dashboard')
    if not command: missing('optuna-dashboard is not installed')
    study, port = new_study(tmp_path/'study.db', 'shared', make_sampler('annealing', 20, 0)), free_port()
    trials = work(study, square, 20)
    server = subprocess.Popen(
        [command, f"sqlite:///{tmp_path/'study.db'}", '--host', '127.0.0.1', '--port', str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    get = lambda path: json.load(urlopen(f'http://127.0.0.1:{port}/api/studies{path}', timeout=10))

    def listening():
        assert server.poll() is None, 'the dashboard ended'
        with socket.socket() as s: return s.connect_ex(('127.0.0.1', port)) == 0
    try:
        until(listening)
        summary, = get('')['study_summaries']
        shown = get(f"/{summary['study_id']}")
    finally:
        server.terminate()
        server.wait()
    assert (summary['study_name'], summary['directions']) == ('shared', ['minimize'])
    rows = [(t['number'], t['state'], t['values'], float(t['params'][0]['param_external_value']))
            for t in shown['trials']]
    assert rows == [(t.number, 'Complete', t.values, t.params['x']) for t in trials]


def search(loss, budget):
    "A search whose cosine has the given loss, and whose task gives 1 to all schedules."
    task = SimpleNamespace(epochs=1, losses=lambda scheds, seeds: np.ones((len(scheds), len(seeds))))
    return _Search(task, KnotSpace(), (loss, cosine()), (loss, cosine()), [0], budget, seed=0)


def test_a_search_of_another_task_is_refused(tmp_path):
    def searched(loss): return search(loss, 1).in_study('annealing', tmp_path/'study.db', 'shared', Bar(0))
    assert searched(.5)[0][0] == 1 and len(searched(.5)) == 1
    with pytest.raises(ValueError, match='other settings: loss 0.5, not 0.6'): searched(.6)    # another model


class Bar:
    "A progress bar that keeps what it showed."
    def __init__(self, n): self.n, self.shown = n, []
    def update(self, n):
        self.n += n
        self.shown.append(self.n)


def test_a_bar_begins_at_what_is_done(tmp_path):
    def shown(budget, n=0):
        bar = Bar(n)
        search(.5, budget).in_study('random', tmp_path/'study.db', 'shared', bar)
        return bar.shown
    assert shown(3) == [0, 1, 2, 3]
    assert shown(5, 40) == [43, 44, 45]                             # after another method's 40
    shown(9)
    assert shown(7) == [7]                                   # no more than there is to do, if others did more


def test_a_storage_that_cannot_be_opened_is_refused_before_training(tmp_path):
    def make_model(): raise AssertionError('trained')
    with pytest.raises(OSError, match='cannot open storage'):
        search_schedule(make_model, digits_dls(), storage=tmp_path/'no'/'study.db', quiet=True)
