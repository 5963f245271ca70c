"""Row operations. They run once, before statistics and the cache, in the order of `operations`."""

from components.operation.aggregate import Aggregate as Aggregate
from components.operation.derive import Derive as Derive
from components.operation.explode import Explode as Explode
from components.operation.filter import Filter as Filter
from components.operation.function import Function as Function
from components.operation.join import Join as Join
from components.operation.rename import Rename as Rename
from components.operation.sort import Sort as Sort
from components.operation.take import Shard as Shard
from components.operation.take import Skip as Skip
from components.operation.take import Take as Take
from components.operation.unique import Unique as Unique
from components.operation.zip import Zip as Zip
