"""Loaders over tensors: what they refuse, and what they leave alone. The digits: fair shares in a split."""
import numpy as np
import pytest
import torch

from cosine_lr import digits_dls, tensor_loader

ONES = torch.ones(3)


@pytest.mark.parametrize('tensors, how, message', [
    ([np.zeros(3)], {}, 'tensors must be torch tensors with a batch dimension'),
    ([torch.tensor(3.)], {}, 'tensors must be torch tensors with a batch dimension'),
    ([ONES, torch.ones(4)], {}, r'tensors must be of one length, above 0, got tensors=\[3, 4\]'),
    ([torch.ones(0)], {}, 'tensors must be of one length, above 0'),
    ([], {}, 'tensors must be of one length, above 0'),
    ([ONES], dict(bs=0), 'bs must be a whole number, at least 1'),
    ([ONES], dict(bs=True), 'bs must be a whole number, at least 1'),
    ([ONES], dict(bs=10**400), 'bs must be a whole number of 64 bits'),
    ([ONES], dict(seed='a'), 'seed must be a whole number'),
    ([ONES], dict(seed=-1), 'seed must be a whole number'),
])
def test_what_is_refused(tensors, how, message):
    with pytest.raises(ValueError, match=message): tensor_loader(*tensors, **how)


def test_without_a_seed_the_rows_come_in_order():
    dl = tensor_loader(torch.arange(10), bs=4)
    assert [rows.tolist() for rows, in dl] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]] and len(dl) == 3


def test_a_seed_may_be_numpys():
    one, other = (tensor_loader(torch.arange(10), seed=seed) for seed in (1, np.int64(1)))
    assert torch.equal(next(iter(one))[0], next(iter(other))[0])


def test_the_global_random_stream_is_left_alone():
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    list(tensor_loader(torch.arange(10), seed=0))
    assert torch.rand(1) == expected


def rows(dl): return {tuple(x.tolist()) for xb, _ in dl for x in xb}


def test_another_split_shares_the_rows_otherwise():
    one, other = digits_dls(), digits_dls(split=1)
    assert len(rows(one.test) | rows(other.test)) > 600
    assert rows(one.train) | rows(one.test) != rows(other.train) | rows(other.test)
    for dl in (other.train, other.valid, other.test):
        x = torch.cat([xb for xb, _ in dl])
        assert 0 <= x.min() and x.max() <= 1


@pytest.mark.parametrize('split', range(3))
def test_each_digit_is_less_than_a_row_off_its_fair_share(split):
    dls = digits_dls(split=split)
    parts = [torch.cat([yb for _, yb in dl]) for dl in (dls.train, dls.valid, dls.test)]
    counts = torch.stack([labels.bincount(minlength=10).double() for labels in parts])
    fair = counts.sum(1, keepdim=True) * counts.sum(0) / counts.sum()
    assert (counts - fair).abs().max() < 1
