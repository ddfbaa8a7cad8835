"""ScheduleLR in Hugging Face's Trainer, resumed too; transformers' get_* schedules as oracles."""
import pytest
import torch
import transformers
from common import WithLoss, momenta, plan, problem, rates, sgd, witness
from cosine_lr import ScheduleLR, constant, cosine, join, linear, polynomial, restarts
from transformers import Trainer, TrainingArguments


def trainer(folder, total, **kw):
    x, y = problem()
    model = WithLoss()
    opt = sgd(model)
    used = witness(opt)
    args = TrainingArguments(
        output_dir=str(folder), num_train_epochs=4, per_device_train_batch_size=8, use_cpu=True, report_to=[],
        disable_tqdm=True, logging_strategy='no', **dict(save_strategy='no') | kw)
    data = [dict(x=a, labels=b) for a, b in zip(x, y)]
    return Trainer(model, args, train_dataset=data, optimizers=(opt, plan(opt, total))), used


@pytest.mark.parametrize('accumulate', [1, 2])
def test_trainer(tmp_path, accumulate):
    run, used = trainer(tmp_path, 32//accumulate, gradient_accumulation_steps=accumulate)
    run.train()
    assert used == (rates(32//accumulate), momenta(32//accumulate))


def test_resume(tmp_path):
    run, whole = trainer(tmp_path, 32, save_strategy='steps', save_steps=12)
    run.train()
    run, rest = trainer(tmp_path, 32)
    run.train(resume_from_checkpoint=str(tmp_path/'checkpoint-12'))
    assert whole == (rates(32), momenta(32)) and rest == (rates(32)[12:], momenta(32)[12:])


T, W = 120, 20
STEPS = dict(num_warmup_steps=W, num_training_steps=T)


def warmed(shape): return join([linear(0, 1), shape], [W/T])


ORACLES = {
    'get_constant_schedule': ({}, constant()),
    'get_constant_schedule_with_warmup': (dict(num_warmup_steps=W), warmed(constant())),
    'get_linear_schedule_with_warmup': (STEPS, warmed(linear())),
    'get_cosine_schedule_with_warmup': (STEPS, warmed(cosine())),
    'get_cosine_with_hard_restarts_schedule_with_warmup': (dict(STEPS, num_cycles=4), warmed(restarts(4))),
    'get_polynomial_decay_schedule_with_warmup': (dict(STEPS, lr_end=1e-4, power=3.),
                                                  warmed(polynomial(1, 1e-3, 3))),
    'get_cosine_with_min_lr_schedule_with_warmup': (dict(STEPS, min_lr_rate=.1), warmed(cosine(1, .1))),
    'get_wsd_schedule': (dict(STEPS, num_decay_steps=40, warmup_type='linear', decay_type='cosine'),
                         join([linear(0, 1), constant(), cosine()], [W/T, 80/T])),
}


@pytest.mark.parametrize('name', ORACLES)
def test_schedules_agree(name):
    kw, ours = ORACLES[name]
    a, b = (torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=.1) for _ in range(2))
    theirs, sched = getattr(transformers, name)(a, **kw), ScheduleLR(b, lr=.1*ours, total_steps=T)
    for step in range(T):
        assert abs(a.param_groups[0]['lr'] - b.param_groups[0]['lr']) < 1e-12, step
        for part in (a, theirs, b, sched): part.step()
