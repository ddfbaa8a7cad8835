"""Where there is a GPU: a captured CUDA graph sees what a schedule writes."""
import pytest
import torch

from cosine_lr import DeviceCB, Learner, ScheduleLR, cosine, digits_dls, lr_find

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(),
                               reason='no CUDA device: CUDA graphs cannot be tested here')


@needs_gpu
def test_a_cuda_graph_sees_the_schedule():
    weight = torch.zeros(4, device='cuda', requires_grad=True)
    opt = torch.optim.Adam([weight], lr=torch.tensor(.1, device='cuda'), capturable=True)
    weight.grad = torch.ones_like(weight)
    opt.step()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph): opt.step()
    sched, moved = ScheduleLR(opt, lr=0.1*cosine(), total_steps=4), []
    for _ in range(4):
        before = weight.detach().clone()
        graph.replay()
        moved.append((before - weight.detach()).abs().max().item())
        sched.step()
    expected = [(.1*cosine())(k/4) for k in range(4)]
    assert all(abs(m - e) < .01*e for m, e in zip(moved, expected))


@needs_gpu
def test_lr_find_leaves_no_trace_on_a_gpu():
    model = torch.nn.Sequential(torch.nn.Linear(64, 32), torch.nn.Dropout(.5), torch.nn.Linear(32, 10))
    learn = Learner(model, digits_dls(), torch.nn.functional.cross_entropy, cbs=DeviceCB('cuda'))
    def places(): return [(p.device, p.data_ptr(), p.tolist()) for p in model.parameters()]
    dice, before = torch.cuda.get_rng_state(), places()
    lr_find(learn, sweeps=2)
    assert torch.equal(dice, torch.cuda.get_rng_state()) and places() == before
