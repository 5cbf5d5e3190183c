"""Layers that see the whole batch when it is spread over processes."""

import torch
from torch import Tensor, nn
from torch import distributed as dist


class _SumOverProcesses(torch.autograd.Function):
    """Sum of a tensor over processes; every process's loss depends on every part, so gradients are summed, too."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        total = x.clone()
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx, grad: Tensor) -> Tensor:
        total = grad.contiguous().clone()
        dist.all_reduce(total)
        return total


class CrossProcessBatchNorm1d(nn.BatchNorm1d):
    """Batch normalisation over the batches of all processes.

    Means and variances, and with them gradients and running statistics, are those of the joined batch, so that a
    batch spread over processes trains as it would in one. `torch.nn.SyncBatchNorm` does that on GPUs only. In
    evaluation mode, and without other processes, this is `torch.nn.BatchNorm1d`.
    """

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        mean, variance, n = self._joint_statistics(x.float())
        self._track(mean.detach(), variance.detach() * n / (n - 1))
        gain = self.weight * torch.rsqrt(variance + self.eps)
        normalised = (x.float() - mean[:, None]) * gain[:, None] + self.bias[:, None]
        return normalised.to(x.dtype)

    @staticmethod
    def _joint_statistics(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Mean and variance per channel of x [B, C, T] of all processes, and the number of values behind them."""
        n = x.new_tensor([x.shape[0] * x.shape[2]])
        totals = _SumOverProcesses.apply(torch.cat([x.sum((0, 2)), n]))
        n, mean = totals[-1], totals[:-1] / totals[-1]
        # Squares of deviations, since squares of values would cancel.
        variance = _SumOverProcesses.apply((x - mean[:, None]).square().sum((0, 2))) / n
        return mean, variance, n.detach()

    @torch.no_grad()
    def _track(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics, as torch does."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean, self.momentum)
        self.running_var.lerp_(variance, self.momentum)


def join_batch_norms(module: nn.Module) -> nn.Module:
    """Make every `BatchNorm1d` in a module one over all processes; parameters and buffers stay the same objects."""
    for parent in list(module.modules()):
        for name, norm in list(parent.named_children()):
            if type(norm) is nn.BatchNorm1d:
                setattr(parent, name, _joined(norm))
    return module


def _joined(norm: nn.BatchNorm1d) -> CrossProcessBatchNorm1d:
    """The same normalisation over all processes."""
    joined = CrossProcessBatchNorm1d(norm.num_features, eps=norm.eps, momentum=norm.momentum)
    joined._parameters, joined._buffers = norm._parameters, norm._buffers
    return joined.train(norm.training)
