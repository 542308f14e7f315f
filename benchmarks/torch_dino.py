"""A plain PyTorch DINO to run beside ours: the same crops, head, loss, optimiser and teacher.

Three manners. `eager` works as one wrote such code in 2021: attention by two matrix products and a
softmax, mixed precision by autocast with a loss scaler where the type is float16, one kernel an
operation, a loop over tensors for clipping and for the teacher, a loss that goes through the pairs
of crops. `compiled` is the best we know to make of PyTorch: fused attention
(`scaled_dot_product_attention`), `torch.compile` of blocks, head and loss, bfloat16 without a
scaler, multi-tensor clipping, a fused optimiser and teacher update, no wait for the device.
`fused` is the same without `torch.compile`.
Written for this comparison; nothing of it is anybody else's code.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - the name everybody reads
from torch import nn

from benchmarks.workload import Workload

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Attention(nn.Module):
    """Self-attention over all tokens, by explicit products or by the fused kernel."""

    def __init__(self, width: int, heads: int, *, fused: bool) -> None:
        super().__init__()
        self.heads, self.fused = heads, fused
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, tokens, width = x.shape
        qkv = self.qkv(x).view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        if self.fused:
            mixed = F.scaled_dot_product_attention(q, k, v)
        else:
            scores = (q @ k.transpose(-2, -1)) * (width // self.heads) ** -0.5
            mixed = scores.softmax(dim=-1) @ v
        return self.proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


class Block(nn.Module):
    """A pre-norm transformer block; whole branches are dropped per sample while `drop` > 0."""

    keep: torch.Tensor

    def __init__(self, work: Workload, *, drop: float, dropping: bool, fused: bool) -> None:
        super().__init__()
        width = work.width
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = Attention(width, work.heads, fused=fused)
        self.norm2 = nn.LayerNorm(width, eps=1e-6)
        self.fc1 = nn.Linear(width, 4 * width)
        self.fc2 = nn.Linear(4 * width, width)
        self.dropping = dropping
        # A buffer and not a number: all blocks then share one compiled function.
        self.register_buffer("keep", torch.tensor(1.0 - drop), persistent=False)

    def _kept(self, branch: torch.Tensor) -> torch.Tensor:
        if not self.dropping:
            return branch
        draw = torch.rand(branch.shape[0], 1, 1, device=branch.device) < self.keep
        return branch * (draw / self.keep).to(branch.dtype)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self._kept(self.attn(self.norm1(x)))
        return x + self._kept(self.fc2(F.gelu(self.fc1(self.norm2(x)))))


class Backbone(nn.Module):
    """A ViT that returns the class token; positions are interpolated for other crop sizes."""

    def __init__(self, work: Workload, *, drop_path: float, fused: bool) -> None:
        super().__init__()
        self.grid = work.image // work.patch
        self.patch_embed = nn.Conv2d(3, work.width, work.patch, work.patch)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, work.width))
        self.pos_embed = nn.Parameter(torch.zeros(1, self.grid**2 + 1, work.width))
        rates = np.linspace(0.0, drop_path, work.depth)
        self.blocks = nn.ModuleList(
            Block(work, drop=float(rate), dropping=drop_path > 0, fused=fused) for rate in rates
        )
        self.norm = nn.LayerNorm(work.width, eps=1e-6)
        nn.init.normal_(self.pos_embed, std=0.02)
        nn.init.normal_(self.cls_token, std=0.02)
        self.apply(_small_linear)

    def positions(self, side: int) -> torch.Tensor:
        if side == self.grid:
            return self.pos_embed
        grid = self.pos_embed[:, 1:].transpose(1, 2).unflatten(2, (self.grid, self.grid))
        scale = (side + 0.1) / self.grid  # the 0.1 is the reference's, and moves the samples
        resized = F.interpolate(grid, scale_factor=(scale, scale), mode="bicubic")
        return torch.cat([self.pos_embed[:, :1], resized.flatten(2).transpose(1, 2)], dim=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        patches = self.patch_embed(images)
        tokens = patches.flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        x = tokens + self.positions(patches.shape[-1])
        for block in self.blocks:
            x = block(x)
        return self.norm(x[:, 0])


class Head(nn.Module):
    """Three linear layers, a unit sphere, and prototypes of unit length."""

    def __init__(self, work: Workload) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(work.width, work.hidden),
            nn.GELU(),
            nn.Linear(work.hidden, work.hidden),
            nn.GELU(),
            nn.Linear(work.hidden, work.bottleneck),
        )
        self.last_layer = nn.Linear(work.bottleneck, work.prototypes, bias=False)
        self.mlp.apply(_small_linear)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.linear(F.normalize(self.mlp(x), dim=-1), F.normalize(self.last_layer.weight))


class Network(nn.Module):
    """Backbone and head; one backbone pass a resolution, one head pass over every crop."""

    def __init__(self, work: Workload, *, drop_path: float, fused: bool) -> None:
        super().__init__()
        self.backbone = Backbone(work, drop_path=drop_path, fused=fused)
        self.head = Head(work)

    def forward(self, *resolutions: torch.Tensor) -> torch.Tensor:
        return self.head(torch.cat([self.backbone(images) for images in resolutions]))


def _small_linear(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)


def pairwise_loss(student: torch.Tensor, targets: torch.Tensor, crops: int) -> torch.Tensor:
    """Mean cross-entropy over pairs of different crops, a pair at a time; crops lie outermost."""
    students = (student / 0.1).chunk(crops)
    total, pairs = torch.zeros((), device=student.device), 0
    for t, target in enumerate(targets.chunk(2)):
        for s, logits in enumerate(students):
            if s != t:
                total = total - (target * logits.log_softmax(dim=-1)).sum(dim=-1).mean()
                pairs += 1
    return total / pairs


def summed_loss(student: torch.Tensor, targets: torch.Tensor, crops: int) -> torch.Tensor:
    """The same number with every log-softmax taken once: subtract the pairs of equal crops."""
    batch = targets.shape[0] // 2
    logp = (student.float() / 0.1).log_softmax(dim=-1).unflatten(0, (crops, batch))
    target = targets.unflatten(0, (2, batch))
    every = (target.sum(dim=0) * logp.sum(dim=0)).sum() - (target * logp[:2]).sum()
    return -every / (batch * (2 * crops - 2))


class Contender:
    """Student, teacher, centre and optimiser, and `step`; `manner` is one of the three."""

    def __init__(
        self,
        work: Workload,
        *,
        manner: str,
        device: str,
        precision: torch.dtype | None,
        clip: float = 3.0,
    ) -> None:
        fused = manner != "eager"
        self.work, self.device, self.fused, self.clip = work, device, fused, clip
        self.precision = precision
        self.student = Network(work, drop_path=0.1, fused=fused).to(device)
        self.teacher = Network(work, drop_path=0.0, fused=fused).to(device)
        self.teacher.load_state_dict(self.student.state_dict())
        self.teacher.requires_grad_(requires_grad=False)
        self.centre = torch.zeros(1, work.prototypes, device=device)
        decayed = [p for p in self.student.parameters() if p.ndim > 1]
        others = [p for p in self.student.parameters() if p.ndim <= 1]
        groups = [{"params": decayed, "weight_decay": 0.04}, {"params": others, "weight_decay": 0}]
        options: dict[str, Any] = {"fused": True} if fused else {}
        self.optimiser = torch.optim.AdamW(groups, lr=1e-4, **options)
        self.scaler = torch.amp.GradScaler(device, enabled=precision == torch.float16)
        self.loss: Callable[..., torch.Tensor] = summed_loss if fused else pairwise_loss
        self.parameters = list(self.student.parameters())
        self.teacher_parameters = list(self.teacher.parameters())
        if manner == "compiled":
            self._compile()

    def _compile(self) -> None:
        # One block is compiled and shared by all: the seconds of a compile, not the minutes.
        for network in (self.student, self.teacher):
            for block in network.backbone.blocks:
                block.compile(dynamic=False)
            network.head.compile(dynamic=False)
        self.loss = torch.compile(summed_loss, dynamic=False)

    def images(self, crops: torch.Tensor) -> torch.Tensor:
        """uint8 (B, n, H, W, 3) -> normalised float (n * B, 3, H, W), crops outermost."""
        stacked = crops.transpose(0, 1).flatten(0, 1).permute(0, 3, 1, 2).float() / 255
        mean = torch.tensor(MEAN, device=self.device)[:, None, None]
        std = torch.tensor(STD, device=self.device)[:, None, None]
        return (stacked - mean) / std

    def step(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """One training step on uint8 crops that lie on the device; returns the loss."""
        views, local = self.images(batch["views"]), self.images(batch["locals"])
        kind = "cuda" if self.device != "cpu" else "cpu"
        enabled = self.precision is not None
        with torch.autocast(kind, dtype=self.precision or torch.bfloat16, enabled=enabled):
            with torch.no_grad():
                answer = self.teacher(views)
                targets = ((answer.float() - self.centre) / 0.04).softmax(dim=-1)
            logits = self.student(views, local)
            loss = self.loss(logits, targets, 2 + self.work.locals_)
        if not self.fused and not math.isfinite(loss.item()):
            raise FloatingPointError("the loss is not finite")
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        self._clip()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self._follow(answer)
        return loss.detach()

    @torch.no_grad()
    def _clip(self) -> None:
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        if self.fused:
            norms = torch._foreach_norm(gradients)
            scales = [(self.clip / (norm + 1e-6)).clamp(max=1.0) for norm in norms]
            torch._foreach_mul_(gradients, scales)
            return
        for gradient in gradients:
            scale = self.clip / (gradient.norm() + 1e-6)
            if scale < 1:  # waits for the device, as such loops do
                gradient.mul_(scale)

    @torch.no_grad()
    def _follow(self, answer: torch.Tensor) -> None:
        if self.fused:
            torch._foreach_lerp_(self.teacher_parameters, self.parameters, 0.004)
        else:
            for followed, leading in zip(self.teacher_parameters, self.parameters, strict=True):
                followed.mul_(0.996).add_(0.004 * leading)
        self.centre = 0.9 * self.centre + 0.1 * answer.float().mean(dim=0, keepdim=True)
