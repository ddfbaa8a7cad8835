"""What `resume_plan` refuses; the plan stays as it was."""
import re

import pytest
import torch
from cosine_lr import base, cosine
from cosine_lr.plan import Plan
from cosine_lr.run.resume import plan_state, resume_plan
from torch import nn

SCHED = .1*cosine()


def plan_of(total, **kw):
    opt = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=.1, momentum=.9)
    return Plan(opt, total, **dict(lr=SCHED) | kw)


STATE = plan_state(plan_of(100), 50)


def refused(plan, state, policy, message):
    before = plan.values(50)
    with pytest.raises(ValueError, match='^' + re.escape(message)): resume_plan(plan, state, policy)
    assert plan.values(50) == before


def test_another_plan_is_refused_unless_a_policy_is_chosen():
    refused(plan_of(160), STATE, 'raise',
            'the state, saved at step 50, was made for another plan (total: 100')
    refused(plan_of(160), STATE, 'hope', "policy must be 'raise', 'keep', 'stretch', 'cooldown', 'extend' or "
            "'restart', got policy='hope'")


@pytest.mark.parametrize('policy', ['stretch', 'cooldown', 'extend', 'restart'])
def test_no_policy_goes_on_where_no_steps_are_left(policy):
    refused(plan_of(50), STATE, policy, 'no steps are left at step 50 of a plan for total=50')


def test_a_cooldown_needs_a_value_of_each_field():
    refused(plan_of(160, momentum=cosine()), STATE, 'cooldown',
            "a cooldown needs a value of each field: the state has ['lr'], the plan ['lr', 'momentum']")


ONLY_ONE = 'only one of the two plans has a value for each param group'


@pytest.mark.parametrize('before, after, message', [
    (SCHED, base*cosine(), f'0.05 to [0.0]: {ONLY_ONE}. Give one schedule without base, as the stopped run'),
    (base*cosine(), SCHED, f'[0.05] to 0.0: {ONLY_ONE}. Give base*… or a list of schedules, as the'),
], ids=str)
def test_a_cooldown_to_or_from_base_is_told_what_to_give(before, after, message):
    state, plan = plan_state(plan_of(100, lr=before), 50), plan_of(160, lr=after)
    refused(plan, state, 'cooldown', f'lr cannot cool down from {message}')
    resume_plan(plan, state, 'extend')
    assert plan.values(50) == plan_of(160, lr=after).values(50)


def test_a_plan_that_repeats_has_no_end_to_go_to():
    refused(plan_of(160, after='repeat'), STATE, 'restart',
            "after='repeat' has no end to resume towards: choose 'hold' or 'raise'")


@pytest.mark.parametrize('wrong, message', [
    (dict(step='5'), "step must be what plan_state gives, a <class 'int'>, got step='5'"),
    (dict(since=200), 'no steps are left at step 200 of a plan for total=100'),
    (dict(done=7.), 'done must be a finite number from 0 to 1, got done=7.0'),
    (dict(values=[1]), "values must be what plan_state gives, a <class 'dict'>, got values=[1]"),
    (dict(plan=None), "plan must be what plan_state gives, a <class 'dict'>, got plan=None"),
    (dict(cooling=3), 'cooling must be what plan_state gives, a dict | None, got cooling=3'),
    (dict(cooling=dict(lr='high')), "lr must be like 0.0, to cool down to it, got lr='high'"),
])
def test_a_changed_state_is_refused(wrong, message):
    refused(plan_of(100), STATE | wrong, 'raise', message)


@pytest.mark.parametrize('terms, told', [({}, 'None'), (STATE['plan'] | dict(total=0), '0')], ids=str)
def test_a_changed_horizon_is_refused(terms, told):
    refused(plan_of(100), STATE | dict(plan=terms), 'keep',
            f'total must be a whole number, at least 1, got total={told}')


@pytest.mark.parametrize('wrong', [None, {}, 'torch'])
def test_what_is_no_state_is_refused(wrong):
    if wrong == 'torch': wrong = torch.optim.lr_scheduler.ConstantLR(plan_of(100).opt).state_dict()
    refused(plan_of(100), wrong, 'raise', "state must be a plan's, it lacks 'step', got ")
