"""What the demo world is made of: businesses, people, products, and texts that break careless readers."""

from __future__ import annotations

from typing import Any

from .model import Company

BUSINESSES: tuple[Company, ...] = (
    Company(
        42,
        "Óptica Belgrano SRL",
        "America/Argentina/Buenos_Aires",
        "ECOMMERCE",
        "SMALL",
        ("Salud", "Retail"),
        "Buenos Aires",
    ),
    Company(57, "Clínica Dental Sonrisas", "Europe/Madrid", "CLINIC", "MEDIUM", ("Odontología",), "Valencia"),
    Company(63, "Pampa Deco SA", "America/Argentina/Cordoba", "ECOMMERCE", "MICRO", ("Hogar", "Decoración"), "Córdoba"),
    Company(71, "Ferretería Don Atilio", "America/Montevideo", "ECOMMERCE", "SMALL", ("Ferretería",), "Montevideo"),
    Company(78, "Centro Médico Andes", "America/Santiago", "CLINIC", "LARGE", ("Medicina",), "Santiago"),
    Company(84, "Moda Rosita SAS", "America/Bogota", "ECOMMERCE", None, ("Indumentaria",), "Medellín"),
    Company(91, "Tienda Tlaquepaque", "America/Mexico_City", "ECOMMERCE", "SMALL", ("Artesanías",), "Guadalajara"),
    Company(99, "Kinesiología del Sur", "America/Argentina/Ushuaia", "CLINIC", "MICRO", ("Kinesiología",), "Ushuaia"),
    Company(105, "Librería Cervantes", "Atlantic/Canary", "ECOMMERCE", "SMALL", ("Libros",), "Las Palmas"),
    Company(118, "Bodega Tres Hermanos", "America/Argentina/Mendoza", "ECOMMERCE", "MEDIUM", ("Vinos",), "Mendoza"),
    Company(126, "Clínica Veterinaria Huellas", "America/Lima", "CLINIC", "SMALL", ("Veterinaria",), "Lima"),
    Company(133, "Grupo Electro Norte", "America/Asuncion", "ECOMMERCE", "ENTERPRISE", ("Electro",), "Asunción"),
)

FIRST_NAMES = (
    "Sofía", "Mateo", "Valentina", "Thiago", "Martina", "Benjamín", "Lucía", "Joaquín", "Camila", "Nicolás",
    "Agustina", "Facundo", "Begoña", "Íñigo", "Carmen", "Álvaro", "Guadalupe", "Santiago", "Paula", "Ñusta",
)  # fmt: skip
LAST_NAMES = (
    "González", "Fernández", "Muñoz", "Peña", "Ibáñez", "Álvarez", "Benítez", "D'Angelo", "García-Conde", "Suárez",
)  # fmt: skip
AGENT_NAMES = ("Luna", "Mateo AI", "Sol", "Asistente", "Nina", "Tango")
AGENT_MODELS = ("gpt-4.1-mini", "gpt-4.1", "claude-sonnet-4", "gemini-2.5-flash")

PRODUCTS = {
    "ECOMMERCE": (
        "lentes de sol Ray-Ban", "mesa ratona de roble", "silla Eames", "lámpara de pie", "armazón Vulk talle M",
        "lentes de contacto tóricas", "alfombra 2x3 m", 'espejo "Luna" 80 cm', "taladro 13 mm", "sillón esquinero",
    ),
    "CLINIC": (
        "limpieza dental", "ortodoncia invisible", "consulta de urgencia", "blanqueamiento", "radiografía panorámica",
        "control anual", "implante", "sesión de kinesiología",
    ),
}  # fmt: skip

AWKWARD_TEXTS: tuple[str, ...] = (
    "😀👍🏽 gracias!!",
    "familia 👨‍👩‍👧‍👦 y bandera 🏳️‍🌈 🇦🇷",
    "שלום, מה שלומך? 123",
    "مرحبا، أين طلبي رقم ٤٥؟",
    "texto \u202eodarenig la sever\u202c fin",
    "dijo \"hola\" y se fue: 'chau'",
    "C:\\Usuarios\\ñandú\\nueva carpeta \\u0041 \\",
    "línea uno\nlínea dos\r\nlínea tres\n\n",
    "col1\tcol2\t\tcol4",
    "separador\u2028de línea\u2029y de párrafo\u0085fin",
    "controles \u0001\u0002\u001f\u007f listo",
    "nulo \u0000 en el medio",
    "\ufeffcon marca de orden",
    "12",
    "007",
    "1e5",
    "-0.0",
    "9007199254740993",
    "12345678901234567890123",
    "NaN",
    "null",
    "true",
    "None",
    '{"a":1}',
    '{"_truncated": true, "next_cursor": "x"}',
    '{"_error": {"code": "X", "message": "y"}}',
    '["a", 2, null]',
    '"12"',
    "2026-04-05",
    "2026-04-05T12:30:45.123456",
    "05/04/2026 12:30",
    "12:30",
    "'; DROP TABLE messages; --",
    '" OR 1=1 --',
    "$1 ${HOME} {{ var('x') }} {0} %s %(a)s",
    '=HYPERLINK("http://example.com","clic")',
    "+54 9 11 5555-0101",
    "@SUM(A1:A9)",
    "-2+3+cmd|' /C calc'!A0",
    "\x1b[31mrojo\x1b[0m \x1b]0;titulo\x07 \x1b[2J",
    "../../etc/passwd",
    "<script>alert('x')</script> &amp; <b>",
    "e\u0301 y é no son lo mismo",
    "Z̸̡̛͔a̶̜͌l̵̰̾g̷̻̔o̴͇̊",
    "",
    " ",
    "   espacios a los lados   ",
    "ｆｕｌｌ ｗｉｄｔｈ ①②③",
    "\U0010ffff\ue000 fuera de uso",
    "palabra " * 12_500,
)
"""Texts that are legal JSON and plausible input, and that change or break when something interprets them."""

AWKWARD_ARGUMENTS: tuple[dict[str, Any], ...] = (
    {"_dlt_id": "x", "_dlt_load_id": 1, "_dlt_parent_id": None},
    {"": "sin nombre", " ": "espacio", "a.b": 1, "a__b": 2, "a b": 3},
    {"id": 1, "ID": 2, "Id": 3},
    {"select": "from", "order": {"by": ["1; DROP TABLE x"]}, "año": 2026, "😀": True},
    {"n": 0, "vacio": {}, "lista": [], "nada": None, "anidado": [[1, [2, [3, {"x": [None]}]]], "t"]},
    {"n": 9007199254740993, "f": 1e300, "chico": 5e-324, "neg": -0.0, "texto": "1"},
    {"texto": '{"a": 1}', "fecha": "2026-04-05T12:30:45", "nulo": "\u0000", "sep": "\u2028"},
)
"""Tool arguments whose keys and values collide with what a loader may do to them."""

MEDIA = {
    "image": ("image/jpeg", "jpg"),
    "audio": ("audio/ogg", "ogg"),
    "video": ("video/mp4", "mp4"),
    "document": ("application/pdf", "pdf"),
    "sticker": ("image/webp", "webp"),
}
"""Content type to MIME type and file ending."""


def business(company_id: int) -> Company:
    """Return the demo company with this id; unknown ids get one of the businesses under a new name."""
    for company in BUSINESSES:
        if company.id == company_id:
            return company
    base = BUSINESSES[company_id % len(BUSINESSES)]
    return Company(
        company_id, f"{base.name} {company_id}", base.timezone, base.kind, base.size, base.categories, base.city
    )


def business_info(company: Company) -> dict[str, Any]:
    """Return the answer of `business-info` for a company."""
    slug = "".join(letter for letter in company.name.lower() if letter.isascii() and letter.isalnum())
    sizes = {
        "MICRO": "1-10 empleados (Micro)",
        "SMALL": "11-50 empleados (Pequeña)",
        "MEDIUM": "51-200 empleados (Mediana)",
        "LARGE": "201-1000 empleados (Grande)",
        "ENTERPRISE": "Más de 1000 empleados (Corporación)",
    }
    return {
        "id": company.id,
        "name": company.name,
        "email": f"hola@{slug}.example",
        "phone": f"+54 11 5555-{company.id:04d}",
        "website": f"https://{slug}.example",
        "address": f"Av. San Martín {100 + company.id}, {company.city}",
        "description": f"{company.name}, {', '.join(company.categories)}",
        "timezone": company.timezone,
        "companySize": company.size,
        "companySizeDisplay": sizes.get(company.size) if company.size else None,
        "companyTypes": [company.kind],
        "categories": list(company.categories),
    }
