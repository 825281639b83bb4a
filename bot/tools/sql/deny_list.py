"""Which functions, catalogs and settings a query may name. Pure.

PostgreSQL's own names beginning with `pg_` are refused unless they are known to be harmless, so that those of
future versions are, too. Extensions have names here, and `bot.tools.sql.resolution` asks the server.
"""

import re

LEDGER = "agent_ledger"
"""The bot's own table of changes that were carried out: what others asked is nobody's to read by a tool."""

STATISTICS = frozenset({"pg_stats", "pg_stats_ext", "pg_stats_ext_exprs"})
"""Views that hold values of each table that may be read, the ledger among them."""

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
"""All others of that name are refused: among them are files, sleeping, locks, signals and replication."""

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
"""libxml2 evaluates them in one go, in which PostgreSQL does not look whether it should stop."""

_DENIED_SCHEMAS = frozenset({"aws_lambda", "aws_s3", "cron", "dblink", "http", "net"})
"""Schemas of extensions whose functions reach out of the database."""

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
"""All other catalogs are refused: they hold secrets, settings, files, or what other people are doing."""

_DENIED_RELATION = re.compile(
    r"_?pg_.* | (user_mapping | foreign_(data_wrapper|server|table) | column)_options | user_mappings",
    re.VERBOSE,
)

_DENIED_SETTING = re.compile(
    r"all | .*\..* | primary_conninfo | .*(_command|_file|_directory|_directories|passphrase).*",
    re.VERBOSE | re.DOTALL,
)
"""Those hold commands, passwords or files; with a dot they are an application's own, often its keys."""


def is_denied_function(name: str, schema: str = "") -> bool:
    """Whether a function may do more than read tables, by its name as PostgreSQL knows it."""
    if schema in _DENIED_SCHEMAS:
        return True
    return bool(_DENIED_FUNCTION.fullmatch(name)) and not _HARMLESS_PG_FUNCTION.fullmatch(name)


def is_denied_relation(name: str) -> bool:
    """Whether it is a catalog that is not about the tables there are."""
    return bool(_DENIED_RELATION.fullmatch(name)) and not _HARMLESS_PG_RELATION.fullmatch(name)


def is_known_catalog(name: str) -> bool:
    """Return whether it is a catalog of PostgreSQL, before which no table of that name is ever found."""
    return bool(_HARMLESS_PG_RELATION.fullmatch(name))


def is_denied_setting(name: str) -> bool:
    """Whether a setting may hold a secret."""
    return bool(_DENIED_SETTING.fullmatch(name.strip().lower()))
