"""A machine and a choice to the list of steps that make a workspace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
import os
from pathlib import Path

from mnssd_workspace.checks import check_compilers, check_headers, check_venv_module
from mnssd_workspace.colcon import build_packages, digest_package
from mnssd_workspace.environment import prepended_paths, workspace_environment
from mnssd_workspace.host import Host
from mnssd_workspace.layout import Layout
from mnssd_workspace.pins import Pin, read_pins
from mnssd_workspace.probe import probe_workspace
from mnssd_workspace.stamps import digest_texts
from mnssd_workspace.steps import Step
from mnssd_workspace.venv import make_venv, site_packages
from mnssd_workspace.wheel_patches import patch_cmake_files
from mnssd_workspace.wheels import install_pins, missing_pins

__all__ = ['Job', 'environment_paths', 'has_vision_msgs', 'make_plan']

_MB = 1_000_000
_PACKAGES = ('vision_msgs', 'mnssd_msgs', 'mnssd_perception', 'mnssd_training')


@dataclass(frozen=True)
class Job:
    """
    Say what is to be made of which machine.

    :param layout: of the workspace.
    :param host: the machine.
    :param environ: the environment variables.
    :param training: whether training is wanted.
    :param verbose: show the output of commands.
    """

    layout: Layout
    host: Host
    environ: Mapping[str, str]
    training: bool = True
    verbose: bool = False

    @property
    def wheels(self) -> bool:
        """Return whether ROS 2 itself comes as Python wheels."""
        return self.host.ros is None

    def env(self) -> dict[str, str]:
        """Return the environment variables of the workspace, as far as it is built."""
        paths = environment_paths(self.layout, self.host)
        return workspace_environment(self.environ, self.layout, paths, wheels=self.wheels)


def environment_paths(layout: Layout, host: Host) -> dict[str, tuple[Path, ...]]:
    """
    List what the workspace, as far as it is built, puts in front of each path variable.

    :param layout: of the workspace.
    :param host: the machine.
    """
    foreign = ('vision_msgs',) if has_vision_msgs(host) else ()
    built = [name for name in _PACKAGES if (layout.install / name).is_dir()]
    built = [name for name in built if name not in foreign]
    return prepended_paths(layout, built, host.dotted, wheels=host.ros is None)


def make_plan(job: Job) -> tuple[Step, ...]:
    """
    List the steps, each after those that it waits for.

    :param job: what is to be made.
    """
    groups = read_pins(job.layout.constraints, job.layout.lock)
    tools = groups['runtime'] + groups['develop']
    messages = ('mnssd_msgs',) if has_vision_msgs(job.host) else ('vision_msgs', 'mnssd_msgs')
    steps = [
        _venv_step(job),
        _base_step(job, groups['system'], groups['ros']),
        _build_step(job, 'messages', messages, ('base',)),
        _pip_step(job, 'tools', 'ONNX Runtime and the tools of tests', tools, 150 * _MB),
        _build_step(job, 'perception', ('mnssd_perception',), ('messages',)),
    ]
    if job.training:
        torch = groups['training']
        steps += [
            _pip_step(job, 'torch', 'PyTorch and what training needs', torch, 7000 * _MB),
            _build_step(job, 'training', ('mnssd_training',), ('perception',)),
        ]
    return (*steps, _probe_step(job, [step.name for step in steps]))


def has_vision_msgs(host: Host) -> bool:
    """
    Say whether the machine has the real vision_msgs; ours is built only where it has not.

    :param host: the machine.
    """
    return host.ros is not None and host.ros.has_package('vision_msgs')


def _venv_step(job: Job) -> Step:
    host, ros = job.host, job.host.ros
    inputs = [os.fspath(job.layout.root), os.fspath(host.python), host.full_version]
    if ros is not None:
        inputs += [ros.distro, *map(os.fspath, ros.prefixes)]
    return Step(
        name='venv',
        title=f'virtual environment of Python {host.dotted}',
        inputs=digest_texts(inputs),
        action=partial(make_venv, job.layout, host, job.environ, verbose=job.verbose),
        outputs=(job.layout.python,),
        check=partial(check_venv_module, host),
        space=30 * _MB,
    )


def _base_step(job: Job, system: tuple[Pin, ...], ros: tuple[Pin, ...]) -> Step:
    def install() -> None:
        site = site_packages(job.layout, job.host.dotted)
        pins = (*system, *ros) if job.wheels else missing_pins(system, job.layout, job.env())
        install_pins('base', pins, job.layout, job.env(), verbose=job.verbose)
        if job.wheels:
            patch_cmake_files(job.layout.venv / 'share', job.host.include, site)

    return Step(
        name='base',
        title='ROS 2 Jazzy, colcon, cmake, NumPy, OpenCV' if job.wheels else 'missing basics',
        inputs=digest_texts(
            [*(pin.requirement for pin in (*system, *ros)), os.fspath(job.host.include)]
        ),
        action=install,
        needs=('venv',),
        space=600 * _MB,
    )


def _pip_step(job: Job, name: str, title: str, pins: tuple[Pin, ...], space: int) -> Step:
    # Not needing `base`, torch stays where it is when a pin of that changes. pip runs alone.
    return Step(
        name=name,
        title=title,
        inputs=digest_texts(pin.requirement for pin in pins),
        action=lambda: install_pins(name, pins, job.layout, job.env(), verbose=job.verbose),
        needs=('venv',),
        after=('base',) if name == 'tools' else ('base', 'tools'),
        space=space,
    )


def _build_step(job: Job, name: str, packages: tuple[str, ...], needs: tuple[str, ...]) -> Step:
    def check() -> None:
        if name == 'messages':
            check_headers(job.host)
            check_compilers(job.environ)

    def build() -> None:
        real = name == 'messages' and has_vision_msgs(job.host)
        stale = ('vision_msgs',) if real else ()
        env = job.env()
        build_packages(name, packages, job.layout, env, stale=stale, verbose=job.verbose)

    return Step(
        name=name,
        title=f'colcon build of {" and ".join(packages)}',
        inputs=digest_texts(
            [*packages, *(digest_package(job.layout, package) for package in packages)]
        ),
        action=build,
        outputs=tuple(
            job.layout.install / package / 'share' / package / 'package.xml'
            for package in packages
        ),
        needs=needs,
        check=check,
        space=30 * _MB,
    )


def _probe_step(job: Job, names: list[str]) -> Step:
    modules = ['mnssd_perception', *(['mnssd_training'] if job.training else [])]
    return Step(
        name='probe' if job.training else 'probe-without-training',
        title='messages through the middleware',
        inputs=digest_texts(modules),
        action=lambda: probe_workspace(job.layout, modules, job.env()),
        needs=tuple(names),
    )
