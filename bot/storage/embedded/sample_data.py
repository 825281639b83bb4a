"""Rows of the sample database: two years of sales, deterministic for a day of creation.

Each row type has the fields of its table in `sample.sql`. Patterns to find: sales grow and peak before the
holidays; weekends are quiet; a lamp launched halfway sold well until a bad batch was returned; a strike
delayed deliveries to Latin America for three weeks; enterprises order more pieces at higher discounts; slow
answers lower satisfaction.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from itertools import count
from math import sqrt
from random import Random
from typing import NamedTuple

from bot.storage.embedded import sample_story as story

SEED = 20
CENT = Decimal("0.01")


class Region(NamedTuple):
    id: int
    name: str


class Category(NamedTuple):
    id: int
    name: str


class Product(NamedTuple):
    id: int
    sku: str
    name: str
    category_id: int
    price: Decimal
    unit_cost: Decimal
    launched_on: date


class Customer(NamedTuple):
    id: int
    name: str
    email: str
    segment: str
    region_id: int
    signed_up_on: date


class Order(NamedTuple):
    id: int
    customer_id: int
    ordered_at: datetime
    channel: str
    status: str
    discount: Decimal
    delivered_at: datetime | None


class OrderItem(NamedTuple):
    order_id: int
    line: int
    product_id: int
    quantity: int
    unit_price: Decimal


class Agent(NamedTuple):
    id: int
    name: str
    team: str


class Ticket(NamedTuple):
    id: int
    customer_id: int
    order_id: int | None
    agent_id: int
    topic: str
    priority: str
    status: str
    opened_at: datetime
    closed_at: datetime | None
    satisfaction: int | None


Row = Region | Category | Product | Customer | Order | OrderItem | Agent | Ticket


def sample_rows(today: date) -> dict[str, Sequence[Row]]:
    """Return rows by table, referenced tables first. Sales end with the day before `today` (UTC)."""
    shop = Shop(today)
    for day in range(story.DAYS):
        shop.trade(day)
    return {
        "regions": [Region(id, name) for id, name in enumerate(story.REGIONS, 1)],
        "categories": [Category(id, name) for id, name in enumerate(story.CATALOGUE, 1)],
        "products": shop.products,
        "customers": shop.customers,
        "orders": shop.orders,
        "order_items": shop.items,
        "agents": shop.agents,
        "tickets": [ticket._replace(id=id) for id, ticket in enumerate(sorted(shop.tickets, key=_opened), 1)],
    }


class Shop:
    """Simulation of the shop; days count from 0."""

    def __init__(self, today: date) -> None:
        self.random = Random(SEED)  # noqa: S311 - nothing here is a secret
        self.first = today - timedelta(days=story.DAYS)
        self.end = datetime.combine(today, time(), UTC)
        self.products = list(_products(self.first))
        self.customers = list(_customers(self.random, self.first))
        self.sign_ups = [customer.signed_up_on for customer in self.customers]
        self.agents = [Agent(id, *agent) for id, agent in enumerate(story.AGENTS, 1)]
        self.orders: list[Order] = []
        self.items: list[OrderItem] = []
        self.tickets: list[Ticket] = []

    def trade(self, day: int) -> None:
        """Simulate the orders and support tickets of one day."""
        today = self.first + timedelta(days=day)
        growth = 4 + 4 * day / story.DAYS
        demand = growth * story.MONTHS[today.month - 1] * story.WEEKDAYS[today.weekday()]
        weights = [self.popularity(day, product) for product in self.products]
        for _ in range(max(0, round(self.random.gauss(demand, sqrt(demand))))):
            self.sell(day, today, weights)
        if self.random.random() < story.GENERAL_TICKETS_A_DAY:
            topic = self.random.choice(("question", "billing"))
            self.open_ticket(self.customer_on(today), None, topic, self.moment(today))

    def customer_on(self, today: date) -> Customer:
        """Return a random customer who has signed up by then; older customers order more often."""
        known = bisect_right(self.sign_ups, today)
        return self.customers[int(known * self.random.random() ** 1.4)]

    def moment(self, today: date) -> datetime:
        hour = int(self.random.triangular(0, 24, 14))
        clock = time(hour, self.random.randrange(60), self.random.randrange(60), tzinfo=UTC)
        return datetime.combine(today, clock)

    def later(self, moment: datetime, mean_hours: float) -> datetime:
        return moment + timedelta(seconds=60 + int(self.random.expovariate(1 / (mean_hours * 3600))))

    def sell(self, day: int, today: date, weights: Sequence[float]) -> None:
        customer = self.customer_on(today)
        basket = self.basket(customer, weights)
        bad = day in story.BAD_BATCH and any(product.name == story.LAMP for product in basket)
        order = self.order(day, customer, self.moment(today), bad)
        self.orders.append(order)
        self.items += [
            OrderItem(order.id, line, product.id, quantity, self.price_on(day, product))
            for line, (product, quantity) in enumerate(basket.items(), 1)
        ]
        self.complain(order, customer, bad)

    def basket(self, customer: Customer, weights: Sequence[float]) -> dict[Product, int]:
        chosen = self.random.choices(self.products, weights, k=self.random.choice((1, 1, 2, 2, 3, 4)))
        most = story.PIECES[customer.segment]
        return {each: self.random.randint(1, most) if each.price < 1000 else 1 for each in chosen}

    def popularity(self, day: int, product: Product) -> float:
        weight: float = story.POPULARITY[product.name]
        if product.name == story.LAMP:
            weight *= min(1.0, max(0, day - story.LAMP_LAUNCH) / 120)
        return weight

    def price_on(self, day: int, product: Product) -> Decimal:
        """Return the price of a product on a day: list prices rose by 5 % after the first year."""
        return product.price if day >= story.PRICE_RISE else (product.price / Decimal("1.05")).quantize(CENT)

    def order(self, day: int, customer: Customer, ordered_at: datetime, bad: bool) -> Order:
        struck = day in story.STRIKE and customer.region_id == story.LATIN_AMERICA
        days = story.DELIVERY_DAYS[customer.region_id - 1] + (14 if struck else 0)
        delivered_at = self.later(ordered_at + timedelta(days=days), 30)
        cancels, returns = 0.22 if struck else 0.04, 0.4 if bad else 0.04
        status = self.status(ordered_at, delivered_at, cancels, returns)
        return Order(
            id=len(self.orders) + 1,
            customer_id=customer.id,
            ordered_at=ordered_at,
            channel=self.random.choices(story.CHANNELS, story.CHANNEL_WEIGHTS[customer.segment])[0],
            status=status,
            discount=Decimal(self.random.choice(story.DISCOUNTS[customer.segment])) / 100,
            delivered_at=delivered_at if status in ("delivered", "returned") else None,
        )

    def status(self, ordered_at: datetime, delivered_at: datetime, cancels: float, returns: float) -> str:
        if self.random.random() < cancels:
            return "cancelled"
        if delivered_at >= self.end:
            return "shipped" if self.end - ordered_at > timedelta(days=2) else "processing"
        return "returned" if self.random.random() < returns else "delivered"

    def complain(self, order: Order, customer: Customer, bad: bool) -> None:
        late = order.delivered_at and order.delivered_at - order.ordered_at > timedelta(days=9)
        reasons = (
            ("return", order.status == "returned", 0.7),
            ("defect", bad, 0.5),
            ("delivery", late, 0.45),
            (self.random.choice(story.TOPICS), True, 0.2),
        )
        for topic, holds, chance in reasons:
            if holds and self.random.random() < chance:
                self.open_ticket(customer, order, topic, order.delivered_at or order.ordered_at)
                return

    def open_ticket(self, customer: Customer, order: Order | None, topic: str, after: datetime) -> None:
        opened_at = self.later(after, 40)
        if opened_at >= self.end:
            return
        priority = self.random.choices(story.PRIORITIES, story.PRIORITY_WEIGHTS[customer.segment])[0]
        closed_at = self.later(opened_at, story.HOURS_TO_CLOSE[priority] * story.SLOWNESS.get(topic, 1))
        closed = closed_at < self.end
        agents = [agent for agent in self.agents if agent.team == story.TEAMS[topic]]
        self.tickets.append(
            Ticket(
                id=0,  # numbered once all are known, in the order of opening
                customer_id=customer.id,
                order_id=order.id if order else None,
                agent_id=self.random.choice(agents).id,
                topic=topic,
                priority=priority,
                status="closed" if closed else "open",
                opened_at=opened_at,
                closed_at=closed_at if closed else None,
                satisfaction=self.satisfaction(closed_at - opened_at) if closed else None,
            )
        )

    def satisfaction(self, took: timedelta) -> int | None:
        if self.random.random() < 0.4:
            return None
        return min(5, max(1, round(self.random.gauss(4.8 - took / timedelta(days=1), 0.7))))


def _opened(ticket: Ticket) -> datetime:
    return ticket.opened_at


def _products(first: date) -> Iterator[Product]:
    ids = count(1)
    for category, lines in enumerate(story.CATALOGUE.values(), 1):
        for name, price, cost, _ in lines:
            id = next(ids)
            age = -story.LAMP_LAUNCH if name == story.LAMP else 200 + 37 * id
            yield Product(
                id=id,
                sku=f"{category:02}-{id:03}",
                name=name,
                category_id=category,
                price=Decimal(price),
                unit_cost=(price * Decimal(str(cost))).quantize(CENT),
                launched_on=first - timedelta(days=age),
            )


def _customers(random: Random, first: date) -> Iterator[Customer]:
    """Yield customers by sign-up date: some before the first day, the others at a growing rate."""
    before = [-random.randrange(1, 900) for _ in range(story.FIRST_CUSTOMERS)]
    later = [int(story.DAYS * sqrt(random.random())) for _ in range(story.LATER_CUSTOMERS)]
    for id, day in enumerate(sorted(before + later), 1):
        segment = random.choices(story.SEGMENTS, story.SEGMENT_WEIGHTS)[0]
        name = _person(random) if segment == "consumer" else _company(random)
        yield Customer(
            id=id,
            name=name,
            email=f"{name.lower().replace(' ', '.')}.{id}@example.com",
            segment=segment,
            region_id=random.choices(range(1, len(story.REGIONS) + 1), story.REGION_WEIGHTS)[0],
            signed_up_on=first + timedelta(days=day),
        )


def _person(random: Random) -> str:
    return f"{random.choice(story.FIRST_NAMES.split())} {random.choice(story.LAST_NAMES.split())}"


def _company(random: Random) -> str:
    return f"{random.choice(story.COMPANY_NAMES.split())} {random.choice(story.COMPANY_KINDS.split())}"
