"""A loop of one's own with `ScheduleLR`, a loss and a model as torch types them."""
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.lr_scheduler import LRScheduler

from cosine_lr import ScheduleLR, constant, cosine, digits_dls, join, linear, warmup_cosine


def train(model: nn.Module, epochs: int = 3) -> list[float]:
    dls = digits_dls(bs=32)
    opt = torch.optim.AdamW(model.parameters(), lr=1e-3)
    total = epochs*len(dls.train)
    scheduler = ScheduleLR(opt, lr=3e-4*warmup_cosine(), weight_decay=constant(.01), total_steps=total)
    plain: LRScheduler = scheduler
    losses: list[float] = []
    for _ in range(epochs):
        for xb, yb in dls.train:
            loss = F.cross_entropy(model(xb), yb)
            opt.zero_grad()
            loss.backward()
            opt.step()
            plain.step()
            losses.append(loss.item())
    scheduler.load_state_dict(scheduler.state_dict())
    rates: list[float] = scheduler.at(10)['lr']
    print(scheduler.get_last_lr(), rates, scheduler.total_steps)
    return losses


def by_hand(opt: torch.optim.Optimizer, steps: int) -> None:
    schedule = .1*join([linear(0, 1), cosine()], at=[.1])
    for step in range(steps):
        for group in opt.param_groups: group['lr'] = schedule(step/steps)
        opt.step()
