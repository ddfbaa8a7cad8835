"""What a notebook cannot test: several worker processes share one study, and one of them is killed in the middle of a trial."""
import glob
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import pytest

optuna = pytest.importorskip('optuna', reason="needs the extra: pip install 'cosine_lr[search]'") if not os.environ.get('CI') else __import__('optuna')
from cosine_lr.study import SimulatedAnnealingSampler, new_study  # noqa: E402

pytestmark = pytest.mark.slow

WORKER = '''
import os, sys, time
from cosine_lr.study import SimulatedAnnealingSampler, new_study, work
storage, budget, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
print('ready', flush=True)
input()
def objective(trial):
    trial.set_user_attr('pid', os.getpid())
    x, lr = trial.suggest_float('x', -5, 5), trial.suggest_float('lr', 1e-3, 1e1, log=True)
    time.sleep(seconds)
    return x**2 + (lr - 1)**2
work(new_study(storage, 'shared', SimulatedAnnealingSampler(budget, seed=1), heartbeat=1), objective, budget)
'''


@pytest.fixture(params=['sqlite', 'postgresql'])
def storage(request, tmp_path):
    if request.param == 'sqlite': yield str(tmp_path/'study.db')
    else: yield from postgres(tmp_path)


def postgres(folder):
    "Start a PostgreSQL server on loopback, installing Debian's package if there is none; stop it afterwards."
    pytest.importorskip('psycopg') if not os.environ.get('CI') else __import__('psycopg')
    root = os.name == 'posix' and os.getuid() == 0
    if not servers() and root and shutil.which('apt-get'):
        subprocess.run(['apt-get', 'update', '-qq'], check=True)
        subprocess.run(['apt-get', 'install', '-qq', '-y', '--no-install-recommends', 'postgresql'], check=True, env={**os.environ, 'DEBIAN_FRONTEND': 'noninteractive'})
    if not servers(): (pytest.fail if os.environ.get('CI') else pytest.skip)('there is no PostgreSQL server, and no apt-get as root to install one')
    data, port = folder/'pg', free_port()
    data.mkdir()
    who = ['runuser', '-u', 'postgres', '--'] if root else []  # the server refuses to run as root
    if root:
        shutil.chown(data, 'postgres')
        for parent in [folder, *folder.parents][:4]: os.chmod(parent, os.stat(parent).st_mode | 0o111)
    tool = lambda name: f'{servers()[-1]}/{name}'
    subprocess.run([*who, tool('initdb'), '-D', data, '-U', 'tester', '--auth=trust', '--no-sync'], check=True, stdout=subprocess.DEVNULL, cwd='/')
    options = f'-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories= -c fsync=off'
    control = [*who, tool('pg_ctl'), '-D', data, '-w']
    subprocess.run([*control, '-l', data/'log', '-o', options, 'start'], check=True, stdout=subprocess.DEVNULL, cwd='/')
    try: yield f'postgresql://tester@127.0.0.1:{port}/postgres'
    finally: subprocess.run([*control, '-m', 'immediate', 'stop'], check=True, stdout=subprocess.DEVNULL, cwd='/')


def servers(): return sorted(glob.glob('/usr/lib/postgresql/*/bin')) or [os.path.dirname(p) for p in [shutil.which('initdb')] if p]


def free_port():
    with socket.socket() as s:
        s.bind(('127.0.0.1', 0))
        return s.getsockname()[1]


def start(n, storage, budget, seconds):
    "`n` workers, which begin together once all have imported what they need."
    workers = [subprocess.Popen([sys.executable, '-c', WORKER, storage, str(budget), str(seconds)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(n)]
    for worker in workers: assert worker.stdout.readline() == 'ready\n'
    for worker in workers: print(file=worker.stdin, flush=True)
    return workers


def until(condition, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, 'waited in vain'
        time.sleep(.1)


def finished(study): return {t.number: (t.value, t.params) for t in study.get_trials() if t.state.name == 'COMPLETE'}


def test_four_workers_and_a_killed_one(storage):
    workers = start(4, storage, 40, .5)
    try:
        study = new_study(storage, 'shared', SimulatedAnnealingSampler(40, seed=1), heartbeat=1)
        in_hand = lambda: [t for t in study.get_trials() if t.state.name == 'RUNNING' and t.user_attrs.get('pid') == workers[0].pid and len(t.params) == 2]
        until(lambda: len({t.user_attrs['pid'] for t in study.get_trials() if t.state.name == 'COMPLETE'}) == 4 and in_hand())
        workers[0].send_signal(signal.SIGKILL)
        workers[0].wait()
        before, lost = finished(study), in_hand()
        for worker in workers[1:]: assert worker.wait(timeout=120) == 0
    finally:
        for worker in workers: worker.kill()
    after = finished(study)
    assert {number: after[number] for number in before} == before                       # nothing finished is lost
    assert 40 <= len(after) <= 42                                                       # three workers may finish at once
    assert len({t.user_attrs['pid'] for t in study.get_trials() if t.state.name == 'COMPLETE'}) == 4
    assert len(lost) == 1 and study.get_trials()[lost[0].number].state.name == 'FAIL'
    retried = [t for t in study.get_trials() if t.system_attrs.get('failed_trial') == lost[0].number]
    assert [t.params for t in retried] == [lost[0].params] and retried[0].state.name == 'COMPLETE'
    assert min(value for value, _ in after.values()) < 2
    more, = start(1, storage, 45, 0)                                                       # the study is still of use
    assert more.wait(timeout=60) == 0 and len(finished(study)) >= 45
