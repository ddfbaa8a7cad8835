"""A schedule in torch's own LambdaLR."""
import torch.nn.functional as F
from common import PEAK, net, position, problem, rates, sgd, witness
from torch.optim.lr_scheduler import LambdaLR


def test_lambda_lr():
    model, (x, y) = net(), problem()
    opt = sgd(model)
    used, _ = witness(opt)
    sched = LambdaLR(opt, lambda step: PEAK(position(step, 20)))
    for _ in range(20):
        F.cross_entropy(model(x), y).backward()
        opt.step()
        opt.zero_grad()
        sched.step()
    assert used == rates(20)
