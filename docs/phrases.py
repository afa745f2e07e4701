"""What docs/beside.py says around its figures, in each language of the chapter."""
# ruff: noqa: RUF001 - a Chinese stop is one

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Phrases:
    """Heads and sentences, the latter with braces for their figures."""

    policy: str
    policies: list[str]
    none: str
    bound: str
    bold: str
    noise: str
    not_measured: str
    nowhere: str
    comma: str
    gap: str
    over: str
    simulated: str
    measured: str
    of: str
    blocks: str
    against: str
    behind: str
    hurt: str


ENGLISH = Phrases(
    policy="policy",
    policies=[
        "policy",
        "over `static`",
        "in its worst mix",
        "in its best",
        "best of all in",
        "best but for ours in",
        "least of `static`",
    ],
    none="–",
    bound=" (bound)",
    bold="Bold: the best that anybody could run, or within 1 % of it.",
    noise="`static` against itself",
    not_measured="Not measured yet.",
    nowhere="nowhere",
    comma=", ",
    gap=" ",
    over="Of {} mixes; *over `static`* is the geometric mean over all of them, *best of all* counts what is within 1 % "
    "of the best, *least of `static`* is the least that any guest ever had of what the static split gives it.",
    simulated="Simulated, {} blocks, {}, commit {}.",
    blocks="blocks",
    of="`{}` ({}, commit {})",
    measured="Measured on Xen against `static`: {}. With fewer than six blocks it is an observation, without an "
    "interval. In brackets: no farther from 1 than `static` lay from itself when it ran twice.",
    against="{0} ({1:.3f} against {3:.3f} of `{2}`)",
    behind="More than 1 % behind the best other: {}.",
    hurt="Some guest has less than {1} of what it has under `static`: {0}.",
)
CHINESE = Phrases(
    policy="策略",
    policies=[
        "策略",
        "相对 `static`",
        "最差的组合",
        "最好的组合",
        "居首的组合数",
        "除本文外居首的组合数",
        "最少者与 `static` 之比",
    ],
    none="–",
    bound="(界)",
    bold="粗体:可以实际运行的策略中最好的,或与之相差不超过 1 %。",
    noise="`static` 与其自身之间",
    not_measured="尚未测量。",
    nowhere="无",
    comma="、",
    gap="",
    over="共 {} 个负载组合;*相对 `static`* 为对全部组合的几何平均,*居首*包括与最好者相差不超过 1 % 的,"
    "*最少者与 `static` 之比*是任何客户操作系统所得性能与静态划分之下的比值中最小的一个。",
    simulated="模拟,{} 个区组,{},提交 {}。",
    blocks="区组数",
    of="`{}`({},提交 {})",
    measured="Xen 上实测,相对 `static`:{}。少于六个区组者仅为观察,没有区间。括号内:与 1 的距离不超过 `static` "
    "运行两次时与其自身的距离。",
    against="{0}({1:.3f},`{2}` 为 {3:.3f})",
    behind="落后于最好的其他策略 1 % 以上的:{}。",
    hurt="有客户操作系统所得不足 `static` 之下的 {1} 的:{0}。",
)
PHRASES: Mapping[str, Phrases] = {"en": ENGLISH, "zh": CHINESE}
