"""A trial on dask.distributed: a worker that is killed in the middle of a cell costs nothing but time."""
import json
import os
import signal
import time

import numpy as np
import pytest

distributed = pytest.importorskip('distributed')
from cosine_lr.lab.cells import Cell, Shelf, answer_all  # noqa: E402
from cosine_lr.lab.runs import Runs  # noqa: E402


def slow_cell(k, log):
    "A cell that takes a while; its process leaves a line when it begins and one when it ends"
    def say(word):
        with open(log, 'a') as file: file.write(json.dumps([word, k, os.getpid()]) + '\n')
    say('begins')
    time.sleep(.7)
    say('ends')
    loss = np.full((1, 1, 1), float(k))
    return Runs({'a': 'a'}, [0], {'train_loss': loss, 'lr': loss}, loss)


def doubled(k, log):
    "A question of two stages: the second asks for what the first found"
    first, = yield [Cell(slow_cell, (k, log))]
    second, = yield [Cell(slow_cell, (int(2*first.losses.item()), log))]
    return second.losses.item()


def lines(log): return [json.loads(line) for line in open(log)] if os.path.exists(log) else []


def test_a_killed_worker_loses_nothing_and_nothing_is_done_twice(tmp_path):
    log, shelf, killed = str(tmp_path/'log'), Shelf(tmp_path/'cells'), []
    questions = {k: doubled(k, log) for k in (1, 10, 100, 1000)}
    with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=None) as cluster, \
         distributed.Client(cluster) as client:
        def progress(cell): # after the first cell is done, kill a process in the middle of another
            if killed: return
            ended = {(k, pid) for word, k, pid in lines(log) if word == 'ends'}
            busy = [pid for word, k, pid in lines(log) if word == 'begins' and (k, pid) not in ended]
            if busy:
                killed.append(busy[0])
                os.kill(busy[0], signal.SIGKILL)
        answers = dict(answer_all(questions, shelf, client.get_executor(pure=False), progress))
    assert answers == {k: 2.*k for k in (1, 10, 100, 1000)} and len(killed) == 1
    ends = [k for word, k, _ in lines(log) if word == 'ends']
    assert sorted(ends) == sorted({*ends}) and len(ends) == 8       # each cell ended once
    assert len([k for word, k, _ in lines(log) if word == 'begins']) >= 9   # one began again
    assert len(list(shelf.folder.iterdir())) == 8
