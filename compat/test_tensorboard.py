"""What TensorBoardCB writes, TensorBoard reads back."""
import torch.nn.functional as F
from cosine_lr import Accuracy, Learner, MetricsCB, RecorderCB, ScheduleCB, cosine, digits_dls
from cosine_lr.run import TensorBoardCB
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch import nn


def test_the_event_file(tmp_path):
    rec, scores = RecorderCB(), MetricsCB(Accuracy())
    cbs = [rec, scores, ScheduleCB(lr=.5*cosine()), TensorBoardCB(tmp_path/'logs', every=5)]
    Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy).fit(3, cbs=cbs)
    read = EventAccumulator(str(tmp_path/'logs'))
    read.Reload()
    points = {name: {e.step: e.value for e in read.Scalars(name)} for name in read.Tags()['scalars']}
    assert set(points) == {'loss', 'lr', *(f'epoch/{column}' for column in scores.rows[0])}
    assert list(points['loss']) == [5, 10, 15, 22, 27, 32, 39, 44, 49]
    for name in ('loss', 'lr'):
        for step, value in points[name].items(): assert abs(value - rec[name][step - 1]) < 1e-6
    for row, (step, accuracy) in zip(scores.rows, points['epoch/accuracy'].items(), strict=True):
        assert step == 17*(row['epoch'] + 1) and abs(accuracy - row['accuracy']) < 1e-6
