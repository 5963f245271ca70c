"""The weights of other libraries: what they call the parameters of our architectures, and how they lay them out."""

from components.weights.carry import Plan as Plan
from components.weights.carry import carried as carried
from components.weights.carry import matches as matches
from components.weights.carry import plan as plan
from components.weights.choose import check_fields as check_fields
from components.weights.choose import names as names
from components.weights.files import Random as Random
from components.weights.files import Safetensors as Safetensors
from components.weights.names import Names as Names
from components.weights.names import Rule as Rule
