"""Pretrained weights of other libraries: their names and layouts of the parameters of our architectures.

Throughout this package, "our" names and arrays are those of Titrate, "their" names are those of the other library.
"""

from components.pretrained.convert import ConversionPlan as ConversionPlan
from components.pretrained.convert import compute_match_share as compute_match_share
from components.pretrained.convert import convert_weights as convert_weights
from components.pretrained.convert import plan_conversion as plan_conversion
from components.pretrained.detect import check_fields as check_fields
from components.pretrained.detect import choose_fields as choose_fields
from components.pretrained.detect import detect_scheme as detect_scheme
from components.pretrained.detect import detect_scheme_by_names as detect_scheme_by_names
from components.pretrained.files import Random as Random
from components.pretrained.files import Safetensors as Safetensors
from components.pretrained.imagenet import ImageNet as ImageNet
from components.pretrained.joined import Joined as Joined
from components.pretrained.lsuv import LSUV as LSUV
from components.pretrained.naming import NamingScheme as NamingScheme
from components.pretrained.naming import Rule as Rule
from components.pretrained.run import Run as Run
