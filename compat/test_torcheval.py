"""Metrics of torcheval and torchmetrics in `MetricsCB`, as fast.ai's course uses them."""
import pytest
import torch
import torch.nn.functional as F
import torchmetrics
from torch import nn
from torcheval import metrics

from cosine_lr import Accuracy, Learner, MetricsCB, TrainCB, digits_dls
from cosine_lr.run import predict


def trained(**named):
    "A learner, and the rows of its table"
    scores = MetricsCB(Accuracy(), log=lambda line: None, **named)
    learn = Learner(nn.Linear(64, 10), digits_dls(), F.cross_entropy, lr=.5, cbs=TrainCB())
    learn.fit(3, cbs=scores)
    return learn, scores.rows


def of_torchmetrics(): return torchmetrics.Accuracy('multiclass', num_classes=10, average='micro')


@pytest.mark.parametrize('make', [metrics.MulticlassAccuracy, of_torchmetrics])
def test_an_accuracy_is_ours(make):
    rows = trained(theirs=make())[1]
    assert len(rows) == 3 and rows[-1]['accuracy'] > .8
    for row in rows: assert row['theirs'] == pytest.approx(row['accuracy'], abs=1e-6)


@pytest.mark.parametrize('metric', [
    metrics.MulticlassF1Score(num_classes=10, average='macro'), metrics.MulticlassPrecision(),
    metrics.MulticlassAUROC(num_classes=10)], ids=lambda m: type(m).__name__)
def test_a_metric_of_the_whole_set_is_no_mean_of_batches(metric):
    learn, rows = trained(theirs=metric)
    preds, targs = predict(learn, learn.dls.valid)
    metric.reset()
    assert rows[-1]['theirs'] == pytest.approx(metric.update(preds, targs).compute().item(), abs=1e-6)


def test_a_class_in_place_of_a_metric_is_refused():
    with pytest.raises(TypeError, match='a metric is an object'): MetricsCB(metrics.MulticlassAccuracy)


def test_a_regression_has_its_own():
    x = torch.randn(70, 8)
    batches = list(zip(x.split(16), x[:, :1].split(16)))
    scores = MetricsCB(r2=metrics.R2Score(), mse=metrics.MeanSquaredError(), log=lambda line: None)
    Learner(nn.Linear(8, 1), (batches, batches), lr=.1).fit(5, cbs=scores)
    assert scores.rows[-1]['mse'] == pytest.approx(scores.rows[-1]['valid_loss'], rel=1e-5)
    assert scores.rows[-1]['r2'] > .5
