"""A small problem to train on, a plan to train by, and a witness of the rates that the optimizer used."""
import torch
import torch.nn.functional as F
from cosine_lr import ScheduleLR, constant, cosine, join, linear, position
from torch import nn

PEAK = 0.1*join([linear(.1, 1), cosine(1, .05)], at=[.25])
MOMENTUM = cosine(.95, .85)


def rates(total, steps=None): return [PEAK(position(step, total)) for step in range(steps or total)]
def momenta(total): return [MOMENTUM(position(step, total)) for step in range(total)]
def problem(rows=64): return torch.randn(rows, 4), torch.randint(0, 2, (rows,))
def net(): return nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))


class WithLoss(nn.Module):
    "A network that returns its loss, as the Trainer wants it"
    def __init__(self):
        super().__init__()
        self.net = net()

    def forward(self, x, labels):
        logits = self.net(x)
        return dict(loss=F.cross_entropy(logits, labels), logits=logits)


def sgd(model): return torch.optim.SGD(model.parameters(), lr=1., momentum=.9)
def plan(opt, total, **kw):
    return ScheduleLR(opt, lr=PEAK, momentum=MOMENTUM, weight_decay=constant(.01), total_steps=total, **kw)


def witness(opt):
    "Two lists that grow with each optimizer step: the learning rate and the momentum that it used"
    used, momentum = [], []
    def look(opt, args, kwargs):
        used.append(opt.param_groups[0]['lr'])
        momentum.append(opt.param_groups[0]['momentum'])
    opt.register_step_pre_hook(look)
    return used, momentum
