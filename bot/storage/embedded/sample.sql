-- A shop for office furniture: schema, and the role that may read it. Run once, in one transaction.

CREATE TABLE regions (
    id   integer PRIMARY KEY,
    name text NOT NULL UNIQUE
);
COMMENT ON TABLE regions IS 'Sales regions';

CREATE TABLE categories (
    id   integer PRIMARY KEY,
    name text NOT NULL UNIQUE
);
COMMENT ON TABLE categories IS 'Product categories';

CREATE TABLE products (
    id          integer PRIMARY KEY,
    sku         text NOT NULL UNIQUE,
    name        text NOT NULL UNIQUE,
    category_id integer NOT NULL REFERENCES categories,
    price       numeric(10, 2) NOT NULL CHECK (price > 0),
    unit_cost   numeric(10, 2) NOT NULL CHECK (unit_cost > 0),
    launched_on date NOT NULL
);
COMMENT ON TABLE products IS 'What the shop sells; a product is only ordered from its launch on';
COMMENT ON COLUMN products.price IS 'List price today, US dollars';
COMMENT ON COLUMN products.unit_cost IS 'What one piece costs us, US dollars';

CREATE TABLE customers (
    id           integer PRIMARY KEY,
    name         text NOT NULL,
    email        text NOT NULL UNIQUE,
    segment      text NOT NULL CHECK (segment IN ('consumer', 'small business', 'enterprise')),
    region_id    integer NOT NULL REFERENCES regions,
    signed_up_on date NOT NULL
);
COMMENT ON TABLE customers IS 'People and companies that have an account; some never ordered';

CREATE TABLE orders (
    id           integer PRIMARY KEY,
    customer_id  integer NOT NULL REFERENCES customers,
    ordered_at   timestamptz NOT NULL,
    channel      text NOT NULL CHECK (channel IN ('web', 'mobile', 'sales')),
    status       text NOT NULL CHECK (status IN ('processing', 'shipped', 'delivered', 'returned', 'cancelled')),
    discount     numeric(3, 2) NOT NULL CHECK (discount BETWEEN 0 AND 1),
    delivered_at timestamptz CHECK (delivered_at > ordered_at)
);
COMMENT ON TABLE orders IS 'One row per order. Revenue counts all but cancelled and returned orders';
COMMENT ON COLUMN orders.channel IS 'Where it was placed; "sales" is by a salesperson';
COMMENT ON COLUMN orders.discount IS 'Fraction off the whole order, 0.10 is ten per cent';
COMMENT ON COLUMN orders.delivered_at IS 'Null until delivered, and for cancelled orders';

CREATE TABLE order_items (
    order_id   integer NOT NULL REFERENCES orders,
    line       integer NOT NULL,
    product_id integer NOT NULL REFERENCES products,
    quantity   integer NOT NULL CHECK (quantity > 0),
    unit_price numeric(10, 2) NOT NULL CHECK (unit_price > 0),
    PRIMARY KEY (order_id, line)
);
COMMENT ON TABLE order_items IS
    'Lines of an order. Revenue of a line is quantity * unit_price * (1 - orders.discount)';
COMMENT ON COLUMN order_items.unit_price IS 'Price per piece when it was ordered, before the discount, US dollars';

CREATE TABLE agents (
    id   integer PRIMARY KEY,
    name text NOT NULL UNIQUE,
    team text NOT NULL
);
COMMENT ON TABLE agents IS 'People who answer support tickets';

CREATE TABLE tickets (
    id           integer PRIMARY KEY,
    customer_id  integer NOT NULL REFERENCES customers,
    order_id     integer REFERENCES orders,
    agent_id     integer NOT NULL REFERENCES agents,
    topic        text NOT NULL CHECK (topic IN ('delivery', 'defect', 'return', 'billing', 'question')),
    priority     text NOT NULL CHECK (priority IN ('low', 'normal', 'high', 'urgent')),
    status       text NOT NULL CHECK (status IN ('open', 'closed')),
    opened_at    timestamptz NOT NULL,
    closed_at    timestamptz CHECK (closed_at > opened_at),
    satisfaction integer CHECK (satisfaction BETWEEN 1 AND 5),
    CHECK ((status = 'closed') = (closed_at IS NOT NULL))
);
COMMENT ON TABLE tickets IS 'Support requests of customers, about an order or in general';
COMMENT ON COLUMN tickets.order_id IS 'Null when the ticket is not about an order';
COMMENT ON COLUMN tickets.satisfaction IS '1 (bad) to 5 (good); null when the customer did not say';

CREATE INDEX ON products (category_id);
CREATE INDEX ON customers (region_id);
CREATE INDEX ON orders (customer_id);
CREATE INDEX ON orders (ordered_at);
CREATE INDEX ON order_items (product_id);
CREATE INDEX ON tickets (customer_id);
CREATE INDEX ON tickets (order_id);
CREATE INDEX ON tickets (agent_id);
CREATE INDEX ON tickets (opened_at);

-- The bot's role. What keeps it from writing are its privileges; the setting says so earlier and more clearly.
DO $$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bot_reader') THEN
        CREATE ROLE bot_reader LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION;
    END IF;
END $$;
ALTER ROLE bot_reader SET default_transaction_read_only = on;
ALTER ROLE bot_reader SET statement_timeout = '30s';
REVOKE ALL ON DATABASE sample, postgres, template1 FROM PUBLIC;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT CONNECT ON DATABASE sample TO bot_reader;
GRANT USAGE ON SCHEMA public TO bot_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO bot_reader;
ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT ON TABLES TO bot_reader;
