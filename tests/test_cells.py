"""What the notebook of cells cannot show: a kill, several processes, and errors of workers."""
import csv
import functools
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import cosine_lr
import numpy as np
import pytest
import torch
from cosine_lr import cosine, wsd
from cosine_lr.lab import cells
from cosine_lr.lab.cells import Cell, Shelf, answer_all, answer_here, processes
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


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.parametrize('share', [0, .5, .99])
def test_a_damaged_file_is_named_and_its_cell_trained_again(tmp_path, share):
    shelf, cell = Shelf(tmp_path), Cell(made_up, (1,))
    shelf.put(cell, cell())
    path, = tmp_path.iterdir()
    path.write_bytes(path.read_bytes()[:int(share*path.stat().st_size)])
    with pytest.warns(UserWarning, match=f'{path.name}.*trained again'):
        assert dict(answer_all({'sum': sums([1, 2])}, shelf)) == {'sum': 3}
    assert shelf.get(cell).losses == 1 and count(tmp_path) == 2     # whole again


def test_a_file_that_may_not_be_read_is_no_damage(tmp_path):
    shelf, cell = Shelf(tmp_path), Cell(made_up, (1,))
    (tmp_path/f'{cell.name}.npz').mkdir()
    with pytest.raises(OSError): shelf.get(cell)


def test_the_same_cell_on_two_shelves_has_one_name_and_versions_count(monkeypatch):
    name = Cell(made_up, (1,)).name
    assert name == Cell(made_up, (1,)).name != Cell(made_up, (2,)).name
    monkeypatch.setattr(cells, '_VERSIONS', 'another torch')
    assert Cell(made_up, (1,)).name != name


def test_the_versions_name_this_package_too(): assert cells._VERSIONS.split()[0] == cosine_lr.__version__


def takes(*args, **kwargs): return made_up(0)


def test_a_name_tells_a_cell_from_all_others():
    args = [(), (1,), (1.,), (True,), ('1',), (None,), ((1,),), ([1],), ((1, 2),), ([1, 2],), ([1], 2),
            ({1: 2},), ({2: 1},), (range(3),), ([0, 1, 2],), (np.float32(.1),), (.1,), (cosine(),),
            (repr(cosine()),), (.5*cosine(),), (.25*cosine(2),), (wsd(),), (Regime(),), (Regime(split=1),),
            (takes,), (made_up,), (Runs,), (tuple(range(2000)),), ((*range(1999), 0),)]
    cells_ = [Cell(takes, a) for a in args] + [Cell(made_up, a) for a in args]
    partials = [functools.partial(takes), functools.partial(takes, 1), functools.partial(takes, k=1),
                functools.partial(takes, k=2), functools.partial(made_up, 1)]
    cells_ += [Cell(function) for function in partials] + [Cell(takes, (partials[1],))]
    assert len({cell.name for cell in cells_}) == len(cells_)
    assert Cell(takes, (.5*cosine(), Regime())).name == Cell(takes, (.5*cosine(), Regime())).name
    assert Cell(functools.partial(made_up, 3))().losses == 3


def test_a_list_that_is_changed_later_changes_no_name():
    ks = [1]
    cell = Cell(takes, (ks,))
    name = cell.name
    ks.append(2)
    assert cell.name == name != Cell(takes, (ks,)).name


def inner():
    def function(k): return made_up(k)
    return function


@pytest.mark.parametrize('function', [
    lambda k: made_up(k), inner(), functools.partial(inner(), 1), 'made_up', None, 3, [].append,
    functools.partial(takes, np.zeros(2000)),
])
def test_a_function_that_a_name_does_not_tell_is_refused(function):
    with pytest.raises(ValueError, match='function must be a function of a module|args must be made of'):
        Cell(function, (1,))


@pytest.mark.parametrize('arg', [
    np.zeros(2000), np.arange(3), torch.tensor(1.), object(), {1, 2}, lambda t: t, inner(), [np.zeros(1)],
    {'a': object()}, {object(): 1}, functools.partial(inner()),
])
def test_an_argument_that_is_not_plain_is_refused(arg):
    with pytest.raises(ValueError, match='args must be made of|function must be a function of a module'):
        Cell(takes, (arg,))


def test_a_function_that_gives_no_runs_is_refused():
    with pytest.raises(TypeError, match='function must give Runs, got 1'): Cell(abs, (-1,))()


def curve(k): # five steps, two epochs
    values = np.full((1, 1, 2), float(k))
    return Runs({'a': 'a'}, [0], {'train_loss': values, 'lr': values}, k + np.arange(5.).reshape(1, 1, 5))


def losses_of(ks):
    runs = yield [Cell(curve, (k,)) for k in ks]
    return [each.losses.tolist() for each in runs]


def test_a_second_start_is_sent_what_the_first_was(tmp_path):
    first, second = (dict(answer_all({0: losses_of([1, 2])}, Shelf(tmp_path/'cells'))) for _ in range(2))
    assert first == second == {0: [[[[5.]]], [[[6.]]]]} == {0: answer_here(losses_of([1, 2]))}
    assert dict(answer_all({0: losses_of([1, 2])})) == first


def test_a_cell_that_two_questions_ask_for_is_done_once_and_both_are_told(tmp_path):
    submitted, told = [], []
    class Counted(ThreadPoolExecutor):
        def submit(self, cell):
            submitted.append(cell.args)
            return super().submit(slowly, cell)
    def slowly(cell):
        time.sleep(.05)
        return cell()
    questions = {'a': sums([1, 2]), 'b': sums([2, 3]), 'c': sums([2, 2])}
    with Counted(2) as pool: answers = dict(answer_all(questions, Shelf(tmp_path), pool, told.append))
    assert answers == {'a': 3, 'b': 5, 'c': 4} and sorted(submitted) == [(1,), (2,), (3,)]
    assert sorted(cell.args for cell in told) == [(1,), (2,), (2,), (2,), (2,), (3,)] # a bar fills up


@pytest.mark.parametrize('questions, told', [
    ({'a': [1]}, r"questions\['a'\] must be a generator"),
    ({'a': sums}, r"questions\['a'\] must be a generator"),
    ([sums([1])], 'questions must be a dictionary'), (sums([1]), 'questions must be a dictionary'),
])
def test_what_is_no_question_is_refused_at_once(questions, told):
    with pytest.raises(ValueError, match=told): answer_all(questions)


@pytest.mark.parametrize('question', [[1], sums])
def test_what_is_no_question_is_refused_here_too(question):
    with pytest.raises(ValueError, match='question must be a generator'): answer_here(question)


@pytest.mark.parametrize('executor', [3, 0, '', []])
def test_what_is_no_executor_is_refused_at_once(executor):
    with pytest.raises(ValueError, match='executor must be an object with a method submit'):
        answer_all({}, executor=executor)


def test_an_executor_of_length_0_is_used():
    class Empty(ThreadPoolExecutor):
        used = 0
        def __len__(self): return 0
        def submit(self, cell):
            self.used += 1
            return super().submit(cell)
    with Empty(1) as pool: assert dict(answer_all({0: sums([1, 2])}, executor=pool)) == {0: 3}
    assert pool.used == 2


@pytest.mark.slow
def test_processes_end_their_own_and_no_other():
    bystander = multiprocessing.get_context('spawn').Process(target=time.sleep, args=(60,), daemon=True)
    bystander.start()
    try:
        with pytest.raises(ArithmeticError), processes(2) as pool:
            sleeper = pool.submit(time.sleep, 50)
            own = {pool.submit(os.getpid).result()}
            raise ArithmeticError
        with pytest.raises(BrokenProcessPool): sleeper.result()     # nobody waited for its end
        assert own.isdisjoint(child.pid for child in multiprocessing.active_children())
        assert bystander.is_alive()
    finally: bystander.terminate()


def test_processes_are_ended_without_a_word(monkeypatch):
    said = []
    monkeypatch.setattr(threading, 'excepthook', said.append)
    with pytest.raises(KeyboardInterrupt), processes(2) as pool:
        futures = [pool.submit(time.sleep, 30) for _ in range(9)]
        assert any([future.cancel() for future in futures])
        raise KeyboardInterrupt
    assert not said


def test_processes_that_were_shut_hide_no_error():
    with pytest.raises(ArithmeticError), processes(2) as pool:
        pool.shutdown()
        raise ArithmeticError
