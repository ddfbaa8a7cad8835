"""What a `Plan` and `position` refuse, and that nothing is written then."""
import math
import re

import numpy as np
import pytest
import torch
from torch import nn

from cosine_lr import cosine, linear
from cosine_lr.clock import Clock, position
from cosine_lr.plan import Plan
from cosine_lr.shapes import base


def optimizer(n=1, kind=torch.optim.SGD, **kw):
    return kind([dict(params=[nn.Parameter(torch.zeros(2))]) for _ in range(n)], **dict(lr=.1) | kw)


@pytest.mark.parametrize('step', [6, np.arange(6), [0, 1], math.nan], ids=str)
def test_a_step_past_the_end_and_what_is_no_step_are_refused(step):
    with pytest.raises(ValueError, match='step'): position(step, 4, after='raise')


@pytest.mark.parametrize('wrong', [dict(total=0), dict(total=True), dict(total=4, end='half'),
                                   dict(total=4, after='cycle')], ids=str)
def test_a_wrong_clock_is_refused(wrong):
    with pytest.raises(ValueError, match=[*wrong][-1]): position(0, **wrong)


REFUSED = {
    'step must be at most total=4, got step=6': lambda: position(6, 4, after='raise'),
    'lr must be a finite number, at least 0, all the way; -1 * cosine(1, 0) gives -1.0 at pos=0.0':
        lambda: Plan(optimizer(), 10, lr=-cosine()),
    'betas must be a pair, finite, like (0.9, 0.999), all the way; cosine(0.95, 0.85) gives 0.95 at pos=0.0':
        lambda: Plan(optimizer(kind=torch.optim.Adam), 10, betas=cosine(.95, .85)),
    'betas: base stands for a number, and the optimizer has [0.9, 0.999]; give a function of progress':
        lambda: Plan(optimizer(kind=torch.optim.AdamW), 10, betas=base*cosine()),
    "step 4 is past the end of a plan for 4 steps; after='hold' or 'repeat' would go on":
        lambda: Plan(optimizer(), 4, after='raise', lr=cosine()).write(4),
}


@pytest.mark.parametrize('message', REFUSED)
def test_the_message_names_what_is_wrong_and_what_would_be_right(message):
    with pytest.raises(ValueError, match='^' + re.escape(message)): REFUSED[message]()


def nan_inside(pos): return math.nan if .3 < pos < .4 else .9
def a_text(pos): return '.9'
def a_pair(pos): return pos, pos


FIELDS = [*(dict(lr=wrong) for wrong in (-cosine(), .1, cosine, repr, [cosine()]*2, [base*cosine()]*3)),
          *(dict(momentum=wrong) for wrong in (nan_inside, a_text, a_pair)), dict(momentun=cosine())]


@pytest.mark.parametrize('wrong', FIELDS)
def test_a_schedule_that_does_not_fit_is_named_by_its_field_and_nothing_is_written(wrong):
    opt = optimizer(momentum=.9)
    with pytest.raises(ValueError, match=[*wrong][0]): Plan(opt, 10, **wrong)
    assert opt.param_groups[0]['lr'] == .1 and opt.param_groups[0]['momentum'] == .9


def test_a_plan_without_a_schedule_is_refused():
    with pytest.raises(ValueError, match='at least one field'): Plan(optimizer(), 10)


@pytest.mark.parametrize('wrong', [dict(opt=[]), dict(total=0), dict(end='last'), dict(after='stop')])
def test_a_plan_names_its_wrong_argument(wrong):
    right = dict(opt=optimizer(), total=10, lr=cosine())
    with pytest.raises(ValueError, match=[*wrong][0]): Plan(**right | wrong)


@pytest.mark.parametrize('end', ['open', 'closed'])
@pytest.mark.parametrize('since, done', [(0, 0.), (3, .1), (5, .3), (7, 1/3), (9, .9999)])
def test_progress_never_leaves_0_to_1_and_ends_at_1(since, done, end):
    plan = Plan(optimizer(), 20, lr=linear(0, 1))
    plan.start(Clock(20, end, since=since, done=done))
    progress = [plan.clock(step) for step in range(25)]
    assert progress[:since + 1] == [done]*(since + 1) and progress[20:] == [1.]*5
    assert all(0 <= a <= b <= 1 for a, b in zip(progress, progress[1:]))
