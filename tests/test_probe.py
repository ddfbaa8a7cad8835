"""What `lr_probe` refuses."""
import math

import pytest
from cosine_lr import digits_dls
from cosine_lr.lab import lr_probe
from torch import nn

LRS = 'lrs must be at least 3 different learning rates above 0, got lrs='


@pytest.mark.parametrize('wrong, said', [
    *((dict(lrs=lrs), LRS) for lrs in ([.1], [.1, .1, 1], [-1, .1, 1], [.1, math.nan, 1], .1)),
    (dict(steps=0), 'steps must be a whole number, at least 1, got steps=0'),
    (dict(steps=.5), 'steps must be a whole number, at least 1, got steps=0.5'),
    (dict(shape=1), 'shape must be a schedule or a function of progress, got shape=1'),
], ids=str)
def test_the_message_of_a_wrong_call(wrong, said):
    def model(): return nn.Linear(64, 10)
    with pytest.raises(ValueError, match='^' + said): lr_probe(model, digits_dls(), **wrong)
