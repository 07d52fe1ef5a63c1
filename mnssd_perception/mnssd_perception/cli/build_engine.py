"""Build the TensorRT engines of a bundle on this machine, before the first start needs them."""

from argparse import Namespace
from collections.abc import Sequence
from pathlib import Path
import sys

from mnssd_perception.bundle import (
    Artefact,
    Bundle,
    open_bundle,
    PRECISIONS,
    shipped_bundle_path,
)
from mnssd_perception.commands import command, format_table, make_parser, positive_int
from mnssd_perception.engines import EngineOptions, list_candidates
from mnssd_perception.engines.tensorrt_engine import NAME, TensorRtEngine
from mnssd_perception.errors import EngineUnavailableError, MnssdError
from mnssd_perception.files import cache_folder
from mnssd_perception.self_test import run_self_test

EXAMPLES = """\
  mnssd build-engine hit_uav-1.0.0.mnssd
  mnssd build-engine hit_uav-1.0.0.mnssd --precision int8 --profile
  mnssd build-engine hit_uav-1.0.0.mnssd --dla-core 0"""


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``mnssd build-engine`` with the given arguments; return its exit code."""
    defaults = EngineOptions()
    parser = make_parser('build-engine', __doc__, EXAMPLES)
    add = parser.add_argument
    add('bundle', type=Path, nargs='?', help='default: the shipped one')
    add('--precision', default='', choices=PRECISIONS, help='default: each that is in the bundle')
    add('--dla-core', type=int, default=defaults.dla_core, help='as the parameter dla_core of the '
        'detector; default: %(default)s, the GPU')  # fmt: skip
    add('--workspace-mib', type=positive_int, default=defaults.workspace_mib, help='as the '
        'parameter workspace_mib of the detector; default: %(default)s')  # fmt: skip
    add('--profile', action='store_true', help='show the time of each layer')
    add('--force', action='store_true', help='build also what is in the cache')
    options = parser.parse_args(arguments)
    # The folder of the detector, which looks a plan up by the same settings.
    engine_options = EngineOptions(
        cache=cache_folder(),
        progress=lambda line: print(line, file=sys.stderr, flush=True),
        workspace_mib=options.workspace_mib,
        dla_core=options.dla_core,
    )
    if reason := TensorRtEngine.available():
        raise EngineUnavailableError(NAME, reason)
    bundle = open_bundle(options.bundle or shipped_bundle_path())
    num_failed = 0
    for candidate in list_candidates(bundle, NAME, options.precision):
        try:
            _build(bundle, candidate.artefact, engine_options, options)
        except MnssdError as error:
            print(f'error: {candidate}: {error}', file=sys.stderr)
            num_failed += 1
    return 1 if num_failed else 0


def _build(
    bundle: Bundle, artefact: Artefact, engine_options: EngineOptions, options: Namespace
) -> None:
    network = bundle.read(artefact.path)
    engine = TensorRtEngine(
        bundle.manifest.spec, network, engine_options, artefact.precision, rebuild=options.force
    )
    try:
        num_clear = run_self_test(bundle, engine, engine_options.cache)
        tested = (
            f'finds {num_clear} detections in the golden frames'
            if num_clear
            else 'no golden frames to test it with'
        )
        print(f'{engine.info}: {artefact.path}, {tested}')
        print(f'  plan: {engine.plan_path or "not kept"}')
        print(f'  CUDA graph: {"yes" if engine.uses_graph else "no"}')
        if options.profile:
            layers = engine.profile()
            total = sum(layer.milliseconds for layer in layers)
            rows = [
                (
                    f'{layer.milliseconds:.4f}',
                    f'{100 * layer.milliseconds / total:.1f}',
                    layer.name,
                )
                for layer in layers
            ]
            print(format_table(('ms', '%', 'layer'), [*rows, (f'{total:.4f}', '100.0', 'all')]))
    finally:
        engine.close()


if __name__ == '__main__':
    sys.exit(main())
