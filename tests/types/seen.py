"""What mypy and pyright take each expression for: an `Any`, which fits everywhere, is an error here."""
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from typing_extensions import assert_type

from cosine_lr import (
    Learner,
    Schedule,
    ScheduleLR,
    cosine,
    digits_dls,
    join,
    linear,
    lr_find,
    one_cycle,
    warmup_cosine,
)
from cosine_lr.rules import LRFind

# --- schedules: values of one type, whatever they are made of ---
plain: Schedule = cosine()
straight: Schedule = linear(0, 1)
assert_type(0.1*join([linear(0, 1), cosine()], at=[0.1]), Schedule)
assert_type(join([linear(0, 1), cosine()], at=[0.1])*0.1, Schedule)
assert_type(cosine() + linear(0, 1), Schedule)
assert_type(1 - cosine(), Schedule)
assert_type(cosine()/2, Schedule)
assert_type(3e-4*warmup_cosine(), Schedule)
assert_type(.1*one_cycle(), Schedule)

# --- a number gives a number, an array an array, a tensor a tensor ---
assert_type(cosine()(.5), float)
assert_type(cosine()(torch.linspace(0, 1, 3)), Tensor)
curve: np.ndarray[Any, Any] = cosine()(np.linspace(0, 1, 3))
as_function: Callable[[float], float] = cosine()

# --- a training loop ---
model = nn.Linear(64, 10)
learn = Learner(model, digits_dls(), F.cross_entropy)
assert_type(learn.model, nn.Module)
assert_type(learn.loss, Tensor)
assert_type(learn.steps, int)
assert_type(learn.total, int)
assert_type(learn.pos, float)
assert_type(learn.training, bool)
assert_type(learn.opt, torch.optim.Optimizer)
assert_type(learn.fit(3), None)

# --- a range test ---
assert_type(lr_find(learn), LRFind)
assert_type(lr_find(learn).suggestion, float | None)
assert_type(lr_find(learn).reason, str)

# --- a loop of one's own ---
opt = torch.optim.SGD(model.parameters(), lr=.1)
assert_type(ScheduleLR(opt, lr=.1*cosine(), total_steps=100).total_steps, int)
