"""Row operations. They run once, before statistics and the cache, in the order of `operations`."""

from components.operation.aggregate import Aggregate as Aggregate
from components.operation.derive import Derive as Derive
from components.operation.explode import Explode as Explode
from components.operation.filter import Filter as Filter
from components.operation.join import Join as Join
from components.operation.zip import Zip as Zip
