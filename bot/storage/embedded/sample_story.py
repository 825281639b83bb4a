"""Parameters of the sample shop: products, customers, and events behind `sample_data`."""

DAYS = 731
"""Days of sales; the last one is the day before the database is created."""

REGIONS = ("North America", "Europe", "Asia-Pacific", "Latin America")
REGION_WEIGHTS = (40, 32, 18, 10)
LATIN_AMERICA = 4
SEGMENTS = ("consumer", "small business", "enterprise")
SEGMENT_WEIGHTS = (60, 30, 10)
PIECES = {"consumer": 2, "small business": 5, "enterprise": 14}
DISCOUNTS = {"consumer": (0, 0, 0, 5), "small business": (0, 5, 10), "enterprise": (5, 10, 15, 20)}
CHANNELS = ("web", "mobile", "sales")
CHANNEL_WEIGHTS = {"consumer": (60, 38, 2), "small business": (70, 15, 15), "enterprise": (25, 5, 70)}

# name, price in dollars, cost as a share of the price, popularity
CATALOGUE: dict[str, tuple[tuple[str, int, float, int], ...]] = {
    "Chairs": (
        ("Harbor Task Chair", 249, 0.55, 14),
        ("Summit Executive Chair", 589, 0.48, 5),
        ("Pebble Stool", 119, 0.6, 8),
        ("Drift Conference Chair", 179, 0.62, 7),
    ),
    "Desks": (
        ("Lift Standing Desk", 699, 0.58, 9),
        ("Plain Writing Desk", 329, 0.61, 6),
        ("Corner Desk", 459, 0.63, 4),
        ("Bench Desk for Four", 1890, 0.57, 2),
    ),
    "Lighting": (
        ("Aurora Desk Lamp", 89, 0.42, 22),
        ("Reed Floor Lamp", 159, 0.5, 6),
        ("Clamp Light", 39, 0.45, 9),
    ),
    "Storage": (
        ("Rolling Pedestal", 199, 0.6, 7),
        ("Open Shelf", 229, 0.58, 6),
        ("Filing Cabinet", 279, 0.64, 4),
        ("Locker Wall", 1290, 0.6, 1),
    ),
    "Accessories": (
        ("Monitor Arm", 109, 0.4, 13),
        ("Cable Tray", 29, 0.35, 15),
        ("Desk Mat", 45, 0.3, 12),
        ("Footrest", 59, 0.38, 6),
        ("Whiteboard", 139, 0.5, 4),
    ),
    "Acoustics": (
        ("Felt Divider", 219, 0.52, 5),
        ("Phone Booth", 4990, 0.66, 1),
        ("Ceiling Baffle", 149, 0.5, 3),
    ),
}
LAMP = "Aurora Desk Lamp"
LAMP_LAUNCH = 365  # days after the first
BAD_BATCH = range(560, 605)
STRIKE = range(610, 631)
PRICE_RISE = 400
POPULARITY = {name: popularity for lines in CATALOGUE.values() for name, *_, popularity in lines}

FIRST_CUSTOMERS, LATER_CUSTOMERS = 180, 420
MONTHS = (0.8, 0.85, 1.0, 1.0, 1.0, 0.95, 0.85, 0.8, 1.1, 1.15, 1.4, 1.3)
WEEKDAYS = (1.25, 1.2, 1.15, 1.1, 1.1, 0.6, 0.6)
DELIVERY_DAYS = (2, 2.5, 4, 5)  # by region, at least
GENERAL_TICKETS_A_DAY = 0.3

AGENTS = (
    ("Ada Obi", "first line"),
    ("Ben Cho", "first line"),
    ("Carla Ruiz", "first line"),
    ("Dev Patel", "first line"),
    ("Elin Berg", "technical"),
    ("Femi Ade", "technical"),
    ("Gita Rao", "billing"),
    ("Hugo Silva", "billing"),
)
TOPICS = ("delivery", "defect", "return", "billing", "question")
TEAMS = {
    "delivery": "first line",
    "return": "first line",
    "question": "first line",
    "defect": "technical",
    "billing": "billing",
}
PRIORITIES = ("low", "normal", "high", "urgent")
PRIORITY_WEIGHTS = {
    "consumer": (35, 50, 12, 3),
    "small business": (20, 50, 22, 8),
    "enterprise": (8, 40, 34, 18),
}
SLOWNESS = {"defect": 1.8, "billing": 1.3}
HOURS_TO_CLOSE = {"low": 72, "normal": 36, "high": 14, "urgent": 5}  # on average

# separated by spaces
FIRST_NAMES = (
    "Aiko Alan Amara Ana Bruno Chloe Diego Elena Emma Farid Grace Hana Ivan Jonas Julia Kofi Lars Leila Liam "
    "Lucia Marco Maya Mei Nadia Noah Olga Omar Paulo Priya Rosa Sam Sara Tariq Tom Uma Victor Wei Yara Zoe"
)
LAST_NAMES = (
    "Almeida Becker Castro Dubois Eriksen Fischer Garcia Haddad Ito Jansen Kim Lopez Moreau Nguyen Okafor "
    "Patel Quinn Rossi Schmidt Tanaka Usman Vargas Walker Yilmaz Zhang"
)
COMPANY_NAMES = (
    "Acorn Beacon Cedar Delta Ember Falcon Granite Horizon Iris Juniper Keystone Lumen Meridian Nimbus "
    "Orchard Pioneer Quartz Ridge Solstice Tundra Umber Vertex Willow Zephyr"
)
COMPANY_KINDS = "Labs Partners Studio Logistics Health Foods Software Design"
