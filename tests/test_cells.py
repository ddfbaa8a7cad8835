"""What the notebook of cells cannot show: a kill, several processes, and errors of workers."""
import csv
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from cosine_lr.lab import cells
from cosine_lr.lab.cells import Cell, Shelf, answer_all, processes
from cosine_lr.lab.runs import Runs
from cosine_lr.lab.trial import Regime, run_trial

ROOT = Path(__file__).resolve().parent.parent
PLAN = {'splits': [Regime(hidden=4, epochs=1)], 'epochs': [Regime(hidden=4, epochs=2)]}
SCRIPT = '''
import sys
from cosine_lr.lab import trial
from cosine_lr.lab.trial import Regime
from test_cells import PLAN

train = trial.run_regime
def logged(*args): # a line for each cell that is trained to its end
    runs = train(*args)
    with open(sys.argv[1], 'a') as file: file.write('x')
    return runs
trial.run_regime = logged
trial.run_trial(16, sys.argv[2], quiet=True, plan=PLAN)
'''


def start(log, out):
    path = os.pathsep.join([str(ROOT), str(ROOT/'tests')])
    return subprocess.Popen([sys.executable, '-c', SCRIPT, log, out], env=os.environ | dict(PYTHONPATH=path))


def count(folder): return len(list(folder.glob('*.npz')))


def test_after_sigkill_nothing_is_lost_and_nothing_done_twice(tmp_path):
    log, out = tmp_path/'log', tmp_path/'out'
    first = start(log, out)
    while count(out/'trial_cells') < 6 and first.poll() is None: time.sleep(.01)
    os.kill(first.pid, signal.SIGKILL)
    assert first.wait() == -signal.SIGKILL
    finished = count(out/'trial_cells')
    trained = len(log.read_text())
    assert finished in (trained - 1, trained) and 6 <= finished < 17 # it may die between the two
    assert start(log, out).wait() == 0
    assert len(log.read_text()) - trained == 17 - finished          # all that was missing, and no more
    whole = run_trial(16, tmp_path/'whole', quiet=True, plan=PLAN)
    for answer, rows in whole.items():
        with open(out/f'trial_{answer}.csv', encoding='utf-8') as file: stored = list(csv.DictReader(file))
        assert [row['p_holm'] for row in stored] == [str(row['p_holm']) for row in rows]
    assert not (out/'trial_cells').exists()


def test_processes_give_what_one_gives(tmp_path):
    plan = {'splits': [Regime(hidden=4, epochs=1)]}
    alone = run_trial(16, tmp_path/'alone', quiet=True, plan=plan)
    with processes(2) as pool: together = run_trial(16, tmp_path/'two', quiet=True, plan=plan, executor=pool)
    for one, other in zip(alone['splits'], together['splits']):
        assert one['kind'] == other['kind'] and np.isclose(one['difference'], other['difference'], atol=1e-6)


def made_up(k):
    if k < 0: raise ArithmeticError(f'cell {k}')
    loss = np.full((1, 1, 1), float(k))
    return Runs({'a': 'a'}, [0], {'train_loss': loss, 'lr': loss}, loss)


def sums(ks):
    runs = yield [Cell(made_up, (k,)) for k in ks]
    return sum(int(each.losses.sum()) for each in runs)


def test_cells_that_finished_beside_one_that_failed_are_kept(tmp_path, monkeypatch):
    class Together: # the futures end when they are waited for, all at the same moment
        def submit(self, cell): return Late(cell)
    class Late(Future):
        def __init__(self, cell):
            super().__init__()
            self.cell = cell
        def done(self): return False # when it is submitted
    def wait(futures, return_when):
        for future in futures:
            try: future.set_result(future.cell())
            except ArithmeticError as e: future.set_exception(e)
        return sorted(futures, key=lambda future: future.exception() is None), []
    monkeypatch.setattr(cells, 'wait', wait)
    questions = {'sum': sums([-1, 1, 2])}
    with pytest.raises(ArithmeticError, match='cell -1'):
        dict(answer_all(questions, Shelf(tmp_path/'cells'), Together()))
    assert count(tmp_path/'cells') == 2


def test_answers_come_as_soon_as_they_are_known_and_none_is_missing(tmp_path):
    with ThreadPoolExecutor(3) as pool:
        answers = dict(answer_all({k: sums(range(k)) for k in range(20)}, executor=pool))
    assert answers == {k: sum(range(k)) for k in range(20)}


def test_a_question_may_ask_for_nothing(): assert dict(answer_all({'none': sums([])})) == {'none': 0}


def test_a_damaged_file_is_named(tmp_path):
    shelf, cell = Shelf(tmp_path), Cell(made_up, (1,))
    shelf.put(cell, cell())
    path, = tmp_path.iterdir()
    path.write_bytes(b'half')
    with pytest.raises(ValueError, match=path.name): shelf.get(cell)


def test_the_same_cell_on_two_shelves_has_one_name_and_versions_count(monkeypatch):
    name = Cell(made_up, (1,)).name
    assert name == Cell(made_up, (1,)).name != Cell(made_up, (2,)).name
    monkeypatch.setattr(cells, '_VERSIONS', 'another torch')
    assert Cell(made_up, (1,)).name != name
