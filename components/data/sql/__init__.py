"""Tables from databases."""

from components.data.sql.source import Sql as Sql
