"""Functions, catalogs and settings that a query may not name. Pure.

Names with the prefix `pg_` are refused unless they are known to be harmless, which covers future versions of
PostgreSQL. Functions of extensions are listed, and `bot.tools.sql.resolution` asks the server.
"""

import re

LEDGER = "agent_ledger"
"""Table of executed changes. No tool may read it, because it shows what other users have asked for."""

STATISTICS = frozenset({"pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"})
"""Views with values of all readable tables, including the ledger."""

_HARMLESS_PG_FUNCTION = re.compile(
    r"""
    pg_(?:
        typeof | column_size | column_compression | collation_for | describe_object
        | (database|indexes|relation|table|total_relation)_size | size_(bytes|pretty)
        | get_(constraint|function|index|partkey|rule|statisticsobj|trigger|view)def
        | get_(expr|keywords|serial_sequence|userbyid)
        | get_function_(arguments|identity_arguments|result)
        | (function|operator|table|type)_is_visible | has_role
        | partition_(ancestors|root|tree) | input_(error_info|is_valid)
        | backend_pid | client_encoding | encoding_to_char | is_in_recovery | postmaster_start_time
    )
    """,
    re.VERBOSE,
)
"""All other `pg_` functions are refused: they include files, sleeping, locks, signals and replication."""

_DENIED_FUNCTION = re.compile(
    r"""
    pg_.* | binary_upgrade_.*
    | set_config | setseed | setval | nextval | txid_current
    | loread | lowrite                                      # large objects; lo_import and lo_export are files
    | lo_(close|creat|create|export|from_bytea|get|import|lseek|lseek64|manage|open|put)
    | lo_(tell|tell64|truncate|truncate64|unlink)
    | brin_(de)?summarize_.* | gin_clean_pending_list
    | (query|cursor|table|schema|database)_to_xml.*         # run the query in their argument
    | ts_stat | ts_rewrite | xpath_table | crosstab.* | connectby                     # the same
    | xpath | xpath_(bool|exists|list|nodeset|number|string) | xmlexists | xslt_process
    | dblink.* | postgres_fdw_.* | .*_(call|inline)_handler
    | http | http_(delete|get|head|list_curlopt|patch|post|put|reset_curlopt|set_curlopt)
    | heap_force_(freeze|kill) | autoprewarm_.* | set_limit | isn_weak       # change what outlives the query
    | currtid2? | currval | lastval                          # tell of tables that are not named
    | get_raw_page | page_(checksum|header) | fsm_page_contents | tuple_data_split     # read past all rights
    | (brin|bt|gin|gist|hash|heap)_page_.*
    | brin_(metapage_info|revmap_data) | bt_(metap|multi_page_stats) | gin_(leafpage_items|metapage_info)
    | hash_(bitmap_info|metapage_info)
    """,
    re.VERBOSE,
)

XML_PATHS = "XML paths are not possible: the time limit does not stop them. Select the XML as text."
"""libxml2 evaluates XML paths in one call, which PostgreSQL cannot interrupt."""

_DENIED_SCHEMAS = frozenset({"aws_lambda", "aws_s3", "cron", "dblink", "http", "net"})
"""Schemas of extensions with functions that reach outside of the database."""

_HARMLESS_PG_RELATION = re.compile(
    r"""
    pg_(?:
        aggregate | am | attrdef | attribute | cast | class | collation | constraint | conversion | database
        | depend | description | enum | extension | index | indexes | inherits | language | matviews
        | namespace | opclass | operator | opfamily | partitioned_table | policies | policy | proc | range
        | rules | sequence | sequences | statistic_ext | stats | stats_ext | stats_ext_exprs | tables
        | tablespace | timezone_(abbrevs|names) | trigger | ts_(config|config_map|dict|parser|template)
        | type | views | stat_(all|sys|user)_(indexes|tables) | stat_database
        | statio_(all|sys|user)_(indexes|sequences|tables)
    )
    """,
    re.VERBOSE,
)
"""All other catalogs are refused: they hold secrets, settings, files, or activity of other users."""

_DENIED_RELATION = re.compile(
    r"_?pg_.* | (user_mapping | foreign_(data_wrapper|server|table) | column)_options | user_mappings",
    re.VERBOSE,
)

_DENIED_SETTING = re.compile(
    r"all | .*\..* | primary_conninfo | .*(_command|_file|_directory|_directories|passphrase).*",
    re.VERBOSE | re.DOTALL,
)
"""Settings with commands, passwords or files; those with a dot belong to applications, often with keys."""


def is_denied_function(name: str, schema: str = "") -> bool:
    """Return True if a function of this name may do more than read tables."""
    if schema in _DENIED_SCHEMAS:
        return True
    return bool(_DENIED_FUNCTION.fullmatch(name)) and not _HARMLESS_PG_FUNCTION.fullmatch(name)


def is_denied_relation(name: str) -> bool:
    """Return True for a catalog that does more than describe tables."""
    return bool(_DENIED_RELATION.fullmatch(name)) and not _HARMLESS_PG_RELATION.fullmatch(name)


def is_known_catalog(name: str) -> bool:
    """Return True for a catalog of PostgreSQL, which hides any table with the same name."""
    return bool(_HARMLESS_PG_RELATION.fullmatch(name))


def is_denied_setting(name: str) -> bool:
    """Return True if a setting may hold a secret."""
    return bool(_DENIED_SETTING.fullmatch(name.strip().lower()))
