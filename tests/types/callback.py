"""A callback of one's own that reads what the loop sets, and a metric: typed as a user would write them."""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from cosine_lr import Callback, CancelFitException, Learner, Metric, MetricsCB, RecorderCB, digits_dls


class StopWhenLow(Callback):
    order = 10

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self.losses: list[float] = []

    def before_fit(self, learn: Learner) -> None:
        self.losses.clear()

    def after_loss(self, learn: Learner) -> None:
        loss: Tensor = learn.loss
        self.losses.append(loss.item())
        if learn.training and loss.item() < self.limit: raise CancelFitException

    def after_step(self, learn: Learner) -> None:
        norm = sum(float(p.grad.norm()) for p in learn.model.parameters() if p.grad is not None)
        rate: float = learn.opt.param_groups[0]['lr']
        print(f'step {learn.steps} of {learn.total}, epoch {learn.epoch}: gradient {norm:.3g} at lr={rate}')


class MeanAbsoluteError(Metric):
    wants_scores = True

    def calc(self, inps: Tensor, targs: Tensor) -> Tensor:
        return (inps.argmax(1) - targs).abs().float().mean()


def main() -> None:
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    stop, record = StopWhenLow(.1), RecorderCB('lr')
    learn = Learner(model, digits_dls(), F.cross_entropy, lr=.1, cbs=[stop, MetricsCB(MeanAbsoluteError())])
    learn.fit(2, cbs=[record])
    learn.fit(1, train=False)
    metric = MeanAbsoluteError()
    metric.add(torch.randn(4, 10), torch.zeros(4, dtype=torch.long), n=4)
    value: Tensor = metric.value
    print(value.item(), min(stop.losses))
