"""What mypy and pyright must refuse: where a checker lets a line pass, it reports an `ignore` without use."""
import torch
import torch.nn.functional as F
from torch import nn

from cosine_lr import Learner, ScheduleCB, ScheduleLR, cosine, digits_dls, join, linear, lr_find
from cosine_lr import compare, run_trial, search_schedule
from cosine_lr.lab import Annealer, KnotSpace, Regime

model = nn.Linear(64, 10)
learn = Learner(model, digits_dls(), F.cross_entropy)
opt = torch.optim.SGD(model.parameters(), lr=.1)

learn.fit('three')  # type: ignore
learn.fit(3, cbs='progress')  # type: ignore
learn.fit(epochs=3)  # type: ignore
Learner(model, digits_dls(), F.cross_entropy, lr='high')  # type: ignore
join([linear(0, 1), cosine()], at=.1)  # type: ignore
join([.1, .2], at=[.1])  # type: ignore
cosine('high')  # type: ignore
'high'*cosine()  # type: ignore
ScheduleLR(opt, lr=.1*cosine())  # type: ignore
ScheduleLR(opt, lr=.1*cosine(), total_steps='many')  # type: ignore
ScheduleCB(lr=.1)  # type: ignore
lr_find(learn).suggestion + 1  # type: ignore
run_trial('eight')  # type: ignore
run_trial(8, plan={'peaks': [32]})  # type: ignore
Regime(noise='much')  # type: ignore
compare(5, 'cosine', 'constant')  # type: ignore
Annealer(5., lambda x, rng: x)  # type: ignore
search_schedule(lambda: model, digits_dls(), budget='many')  # type: ignore
KnotSpace(peak=1.)  # type: ignore
