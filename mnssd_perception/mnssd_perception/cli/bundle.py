"""Verify, inspect and compare bundles."""

from argparse import Namespace
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
import json
from pathlib import Path
import sys

from mnssd_perception.bundle import (
    Artefact,
    Bundle,
    diff_manifests,
    manifest_to_plain,
    open_bundle,
    PRECISIONS,
    shipped_bundle_path,
)
from mnssd_perception.commands import command, format_table, make_parser
from mnssd_perception.engines import EngineOptions, ENGINES, list_candidates, open_engine
from mnssd_perception.errors import EngineUnavailableError, MnssdError
from mnssd_perception.self_test import run_self_test
from mnssd_perception.text import sanitize_text

EXAMPLES = """\
  mnssd bundle verify hit_uav-1.0.0.mnssd --self-test
  mnssd bundle verify hit_uav-1.0.0.mnssd --digest sha256:0123...
  mnssd bundle inspect                        the bundle that comes with mnssd
  mnssd bundle diff hit_uav-1.0.0.mnssd hit_uav-1.1.0.mnssd"""


@dataclass(frozen=True)
class Verdict:
    """
    What the self-test of one artefact says.

    :ivar result: ``ok``, ``refused``, or ``not available`` where this machine cannot run it.
    """

    result: str
    engine: str
    precision: str
    path: str
    reason: str


@command
def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``mnssd bundle`` with the given arguments; return its exit code."""
    parser = make_parser('bundle', __doc__, EXAMPLES)
    verbs = parser.add_subparsers(metavar='verify|inspect|diff', required=True)

    verify = verbs.add_parser(
        'verify', help='check every file against the manifest; exit code 1 if anything is wrong'
    )
    verify.add_argument('bundle', type=Path)
    verify.add_argument(
        '--digest', default='', help='the bundle must have this digest, sha256:...'
    )
    verify.add_argument(
        '--self-test',
        action='store_true',
        help='detect in the golden frames with every network that this machine can run',
    )
    verify.add_argument('--engine', default='', help='test this engine only')
    verify.add_argument('--precision', default='', choices=('', *PRECISIONS), help='and this only')
    verify.add_argument(
        '--cache', type=Path, help='folder for what engines build, see --self-test'
    )
    verify.set_defaults(run=_verify)

    inspect = verbs.add_parser('inspect', help='show what a bundle holds')
    inspect.add_argument('bundle', type=Path, nargs='?', help='default: the shipped one')
    inspect.add_argument('--json', action='store_true', help='as JSON')
    inspect.set_defaults(run=_inspect)

    diff = verbs.add_parser(
        'diff', help='list what differs; exit code 0 if nothing does, 1 if something, 2 for errors'
    )
    diff.add_argument('first', type=Path)
    diff.add_argument('second', type=Path)
    diff.set_defaults(run=_diff)

    options = parser.parse_args(arguments)
    result: int = options.run(options)
    return result


def _verify(options: Namespace) -> int:
    if (options.engine or options.precision) and not options.self_test:
        raise MnssdError('expected --self-test with --engine and --precision')
    bundle = open_bundle(options.bundle, options.digest)
    manifest = bundle.manifest
    print(
        f'{bundle.name} {bundle.version}: schema {manifest.schema}, {len(manifest.files)} files, '
        f'{len(manifest.artefacts)} artefacts, all as in the manifest'
    )
    print(bundle.digest)
    if not options.self_test:
        return 0
    if not manifest.golden:
        raise MnssdError(f"bundle '{bundle.path}' has no golden frames to test with")
    verdicts = []
    for verdict in _self_test(bundle, options.engine, options.precision, options.cache):
        print(
            f'{verdict.result}: {verdict.engine} ({verdict.precision}), {verdict.path}: '
            f'{sanitize_text(verdict.reason, 1000)}',
            flush=True,
        )
        verdicts.append(verdict.result)
    if 'ok' not in verdicts and 'refused' not in verdicts:
        print('error: no artefact can run on this machine; nothing was tested', file=sys.stderr)
    return 0 if 'ok' in verdicts and 'refused' not in verdicts else 1


def _self_test(
    bundle: Bundle, engine: str, precision: str, cache: Path | None
) -> Iterator[Verdict]:
    """Test each artefact, or those that an engine can run."""
    if engine:
        pairs = [
            (item.engine, item.artefact) for item in list_candidates(bundle, engine, precision)
        ]
    else:
        artefacts = bundle.manifest.artefacts
        pairs = [(item.engine, item) for item in artefacts if precision in ('', item.precision)]
    if not pairs:
        raise MnssdError(f"bundle '{bundle.path}' has no artefact in {precision}")
    options = EngineOptions(cache=cache, progress=lambda line: print(line, file=sys.stderr))
    for name, artefact in pairs:
        result, reason = _test_artefact(bundle, name, artefact, options)
        yield Verdict(result, name, artefact.precision, artefact.path, reason)


def _test_artefact(
    bundle: Bundle, name: str, artefact: Artefact, options: EngineOptions
) -> tuple[str, str]:
    if name not in ENGINES:
        return 'not available', f'this mnssd has no engine {name!r}'
    try:
        engine = open_engine(
            bundle, name, options, artefact.precision, has_batch=artefact.has_batch
        )
    except EngineUnavailableError as error:
        return 'not available', error.reason
    except MnssdError as error:
        return 'refused', str(error)
    try:
        num_clear = run_self_test(bundle, engine)
    except MnssdError as error:
        return 'refused', str(error)
    finally:
        engine.close()
    num_frames = len(bundle.manifest.golden)
    if not num_clear:
        return 'refused', f'{num_frames} golden frames without a clear detection prove nothing'
    return 'ok', f'{engine.info} finds {num_clear} detections in {num_frames} golden frames'


def _inspect(options: Namespace) -> int:
    bundle = open_bundle(options.bundle or shipped_bundle_path())
    if options.json:
        plain = {'path': str(bundle.path), 'digest': bundle.digest}
        print(json.dumps(plain | {'manifest': manifest_to_plain(bundle.manifest)}, indent=1))
    else:
        for line in _describe(bundle):
            print(line)
    return 0


def _describe(bundle: Bundle) -> Iterator[str]:
    """List what a bundle holds, for people."""
    manifest = bundle.manifest
    spec, thresholds = manifest.spec, manifest.thresholds
    sizes = {entry.path: entry.size for entry in manifest.files}
    yield f'{bundle.name} {bundle.version}, schema {manifest.schema}'
    yield bundle.digest
    yield f'input: {spec.input_size[0]} x {spec.input_size[1]} (height x width), {spec.resize}'
    yield f'classes: {", ".join(spec.class_names)}'
    yield f'priors: {spec.num_priors} in {len(spec.feature_maps)} feature maps'
    yield (
        f'thresholds: score {thresholds.score}, IoU {thresholds.iou}, '
        f'at most {thresholds.max_detections} detections'
    )
    yield ''
    header = (
        'engine', 'precision', 'batch', 'file', 'MB', 'AP', 'drop', 'changed', 'device',
        'scored with',
    )  # fmt: skip
    yield format_table(header, [_artefact_row(item, sizes) for item in manifest.artefacts])
    yield ''
    verdicts = [item.gate for item in manifest.artefacts if item.gate is not None]
    if verdicts:
        images = ' or '.join(str(num) for num in sorted({item.num_images for item in verdicts}))
        yield (
            f'AP: mean AP@0.5 on {images} validation images, points; drop: below the checkpoint; '
            'changed: detections that only one of the two has, of those of the checkpoint'
        )
    else:
        yield 'schema 1 has no verdicts of the accuracy gate'
    yield f'golden frames: {len(manifest.golden)}, with ' + (
        f'{sum(len(frame.scores) for frame in manifest.golden)} detections'
    )
    provenance = manifest.provenance
    for key in ('dataset', 'dataset_digest', 'licence', 'attribution', 'git_commit'):
        yield f'{key}: {sanitize_text(getattr(provenance, key) or "-", 500)}'


def _artefact_row(item: Artefact, sizes: dict[str, int]) -> tuple[object, ...]:
    gate, size = item.gate, f'{sizes[item.path] / 1e6:.2f}'
    measured: tuple[object, ...] = ('-', '-', '-', '-')
    if gate is not None:
        points, drop = f'{100 * gate.map50:.1f}', f'{gate.drop:+.2f}'
        changed = f'{gate.num_changed} of {gate.num_detections}'
        measured = (points, drop, changed, gate.scored_with)
    batch = 'any' if item.has_batch else 1
    return (
        item.engine, item.precision, batch, item.path, size, *measured[:3],
        item.device or 'any', measured[3],
    )  # fmt: skip


def _diff(options: Namespace) -> int:
    try:
        first, second = open_bundle(options.first), open_bundle(options.second)
    except MnssdError as error:
        print('error:', error, file=sys.stderr)
        return 2
    for name, bundle in (('first', first), ('second', second)):
        print(f'{name}: {bundle.path}, {bundle.name} {bundle.version}, {bundle.digest}')
    differences = diff_manifests(first.manifest, second.manifest)
    if not differences and first.digest != second.digest:
        differences = ['manifest.json: another text with the same content']
    for line in differences:
        print(line)
    return 1 if differences else 0


if __name__ == '__main__':
    sys.exit(main())
