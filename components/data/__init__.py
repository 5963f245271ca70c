"""Sources of rows, and functions that split the rows for training, validation and testing."""

from components.data.arrays import Arrays as Arrays
from components.data.csv.source import Csv as Csv
from components.data.electric_load import ElectricLoad as ElectricLoad
from components.data.frame import Frame as Frame
from components.data.generator import Generator as Generator
from components.data.holdout import split as split
from components.data.idx import Idx as Idx
from components.data.idx import read_idx as read_idx
from components.data.idx import write_idx as write_idx
from components.data.image_folders import ImageFolders as ImageFolders
from components.data.image_table import ImageTable as ImageTable
from components.data.mixed import Mixed as Mixed
from components.data.numpy_files import NumpyFiles as NumpyFiles
from components.data.operated.source import OperatedSource as OperatedSource
from components.data.parsed_files import ParsedFiles as ParsedFiles
from components.data.records import FixedLengthRecords as FixedLengthRecords
from components.data.run_features import RunFeatures as RunFeatures
from components.data.scikit_learn import ScikitLearn as ScikitLearn
from components.data.sql.source import Sql as Sql
from components.data.table import Table as Table
from components.data.table_file import TableFile as TableFile
from components.data.text_folders import TextFolders as TextFolders
from components.data.text_lines import TextLines as TextLines
