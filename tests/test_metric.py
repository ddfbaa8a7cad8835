"""Metrics: kinds of scores and labels, and what does not fit together."""
import pytest
import torch
import torch.nn.functional as F

from cosine_lr import Accuracy, Metric


def accuracy(preds, targs, **how):
    acc = Accuracy(**how)
    acc.add(preds, targs, n=len(targs))
    return acc.value.item()


def test_a_metric_begins_anew():
    m = Metric()
    m.add(1., n=9)
    m.reset()
    m.add(2., n=1)
    m.add(5., n=2)
    assert m.value == 4 and m.last == 5 and m.value.dtype == torch.float64


def test_one_score_for_two_classes():
    yes = torch.tensor([1, 0, 1, 1])
    logit = torch.tensor([2., -1., .5, -3.])                       # right, right, right, wrong
    for targs in (yes, yes.float(), yes[:, None].float()):
        for preds in (logit, logit[:, None]): assert accuracy(preds, targs) == .75
    assert accuracy(logit.sigmoid(), yes, threshold=.5) == .75


def test_classes_count_as_they_are():
    assert accuracy(torch.tensor([1, 2, 3]), torch.tensor([1, 2, 0])) == pytest.approx(2/3)


def test_words():
    words = torch.tensor([[0, 6, 3, 1, 2], [5, 5, 4, 0, 1]])       # two texts of five words, out of seven
    scores = F.one_hot(words, 7).float()                           # [n, T, V]
    assert accuracy(scores, words) == accuracy(scores.mT, words) == accuracy(scores, words, dim=-1) == 1


def test_as_many_words_as_places():
    square = torch.eye(5)[None].repeat(2, 1, 1)                    # T = V
    with pytest.raises(ValueError, match='may have the classes in dimension 1 or 2'):
        accuracy(square, square.argmax(-1))
    assert accuracy(square, square.argmax(-1), dim=-1) == 1


def test_several_labels_a_row_or_shares_of_classes():
    several = torch.randn(4, 3)
    with pytest.raises(ValueError, match=r'say Accuracy\(dim=1\) for shares, threshold=0 for labels'):
        accuracy(several, (several > 0).float())
    assert accuracy(several, (several > 0).float(), threshold=0) == 1
    assert accuracy(several, several.softmax(1), dim=1) == 1


LABELS = torch.zeros(3).long()


@pytest.mark.parametrize('metric, batch, message', [
    (Accuracy, (torch.zeros(3, 10), torch.zeros(4).long()), 'inp and targ must have the same length'),
    (Accuracy, (torch.zeros(3, 2, 2), LABELS), 'inps and targs must have the same shape'),
    (Accuracy, ([1, 2], [1, 2]), 'targs must be a tensor'),
    (Accuracy, (torch.zeros(3),), 'targs must be a tensor'),
    (Metric, (torch.zeros(3),), r'calc must give one number a batch, got a tensor of shape \(3,\)'),
    (Metric, (1., None, 0), 'n must be the number of rows, above 0 and below 1e99, got n=0'),
    (Metric, (1., None, 10**400), 'n must be the number of rows, above 0 and below 1e99, got n=1000'),
])
def test_what_does_not_fit(metric, batch, message):
    with pytest.raises(ValueError, match=message): metric().add(*batch)


@pytest.mark.parametrize('wrong', ['x', float('nan'), True, torch.zeros(2)])
def test_a_threshold_is_a_number(wrong):
    with pytest.raises(ValueError, match='threshold must be a finite number'): Accuracy(threshold=wrong)


@pytest.mark.parametrize('shape', [(), (1,), (1, 1)])
def test_a_value_that_stays_on_its_device_has_no_dimensions(shape):
    class OfBatch(Metric):
        def calc(self, inps, targs): return torch.ones(shape, device=inps.device)
    m = OfBatch()
    m.add(torch.zeros(3, device='meta')) # not read, as on a GPU
    assert m.vals[0].shape == ()
    m.reset()
    m.add(torch.zeros(3))
    assert m.value == 1


def test_a_model_with_two_outputs():
    with pytest.raises(TypeError, match='preds must be a tensor .*, got tuple'):
        Accuracy().add((torch.zeros(3, 10), torch.zeros(3, 10)), LABELS)


def test_a_value_needs_a_batch():
    with pytest.raises(ValueError, match='Accuracy.value needs a batch: call add first'): Accuracy().value
