"""``mnssd export-onnx``: export a network as a plain ONNX file, for other programs."""

from collections.abc import Callable, Sequence
from pathlib import Path

from mnssd_training.cli.common import command, make_parser, write_file
from mnssd_training.export import (
    convert_to_fp16,
    export_batch,
    export_decoded,
    export_for_hailo,
    export_onnx,
    open_source,
)
from mnssd_training.model import MobileNetSsd

EXAMPLES = """\
  mnssd export-onnx best.pt --variant decoded --output detector.onnx
  mnssd export-onnx hit_uav-0.3.0.mnssd --variant fp16 --output network_fp16.onnx
"""
VARIANTS: dict[str, Callable[[MobileNetSsd], bytes]] = {
    'network': export_onnx,
    'batch': export_batch,
    'fp16': lambda model: convert_to_fp16(export_onnx(model)),
    'batch-fp16': lambda model: convert_to_fp16(export_batch(model)),
    'hailo': lambda model: export_for_hailo(model).network,
}


@command
def main(arguments: Sequence[str] | None = None) -> None:
    """
    Export a network as an ONNX file.

    Bundles, which `mnssd export` makes, hold measured networks; this file is for other programs.
    """
    parser = make_parser('export-onnx', main.__doc__, EXAMPLES)
    parser.add_argument('model', help='a checkpoint (.pt, also s3://) or a bundle')
    parser.add_argument(
        '--variant',
        choices=[*VARIANTS, 'decoded'],
        default='decoded',
        help='decoded: float image to boxes and scores; network: uint8 image to raw heads, as in '
        'a bundle; batch: the same for several images; fp16: in half precision; hailo: for the '
        'Dataflow Compiler (default: decoded)',
    )
    parser.add_argument('--output', type=Path, required=True, metavar='FILE')
    args = parser.parse_args(arguments)
    model = open_source(args.model).checkpoint.build()
    if args.variant != 'decoded':
        write_file(args.output, VARIANTS[args.variant](model))
        print(f'network: {args.output}')
        return
    decoded = export_decoded(model)
    priors = args.output.with_name(f'{args.output.stem}_priors_cxcywh.npy')
    write_file(args.output, decoded.network)
    write_file(priors, decoded.priors)
    print(f'network: {args.output} (opset {decoded.opset})')
    print(f'priors: {priors}')
