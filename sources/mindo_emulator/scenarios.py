"""What people write about: the subjects of a conversation, with their texts, tools and odds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Scenario:
    """A subject that a contact writes about.

    Attributes:
        intent: Value of the Intent label.
        topic: Value of the Topic label.
        weight: How common it is.
        asks: What the contact may open with.
        tools: What the agent calls to answer.
        answers: What the agent may answer.
        handoff: Odds that a person has to take over.
        mood: Odds of a negative sentiment.
    """

    intent: str
    topic: str
    weight: float
    asks: tuple[str, ...]
    tools: tuple[str, ...]
    answers: tuple[str, ...]
    handoff: float
    mood: float


SCENARIOS: dict[str, tuple[Scenario, ...]] = {
    "ECOMMERCE": (
        Scenario(
            "order_inquiry",
            "shipping",
            30,
            (
                "Hola! ¿Me dicen dónde está mi pedido {order}?",
                "Buenas, compré {product} y todavía no llegó",
                "El pedido {order} figura entregado y no lo tengo",
            ),
            ("buscar_pedido",),
            (
                "¡Hola {name}! Tu pedido {order} está en camino y llega el {day}.",
                "Ya lo revisé: el pedido {order} sale hoy del depósito de {city}.",
            ),
            0.14,
            0.22,
        ),
        Scenario(
            "price_inquiry",
            "catalog",
            24,
            ("¿Qué precio tiene {product}?", "Hola, ¿cuánto sale {product} en 3 cuotas?", "precio de {product} porfa"),
            ("consultar_stock",),
            ("{product} está a ${amount} y tenemos stock 🙌", "Sale ${amount}. En efectivo tenés 10% de descuento."),
            0.08,
            0.06,
        ),
        Scenario(
            "stock_inquiry",
            "catalog",
            16,
            ("¿Tienen {product} en la sucursal de {city}?", "Busco {product}, ¿hay stock?"),
            ("consultar_stock",),
            ("Sí, {name}, nos quedan unidades de {product}.", "Por ahora no tenemos {product}; entra el {day}."),
            0.07,
            0.08,
        ),
        Scenario(
            "return_request",
            "returns",
            11,
            ("Quiero devolver {product}, vino fallado", "¿Cómo hago un cambio? El pedido es {order}"),
            ("buscar_pedido", "crear_devolucion"),
            (
                "Lamento lo que pasó, {name}. Generé la devolución del pedido {order}.",
                "Te enviamos la etiqueta a {email}.",
            ),
            0.38,
            0.55,
        ),
        Scenario(
            "payment_issue",
            "payments",
            9,
            ("Me cobraron dos veces el pedido {order}!!", "La tarjeta me rechaza el pago de ${amount}"),
            ("verificar_pago",),
            (
                "Veo un solo pago acreditado de ${amount}; el otro se anula en 48 h.",
                "El pago figura rechazado por el banco.",
            ),
            0.45,
            0.62,
        ),
        Scenario(
            "human_request",
            "other",
            4,
            ("quiero hablar con una persona", "Un humano por favor 🙏"),
            (),
            ("Claro, {name}, te paso con alguien del equipo.",),
            0.95,
            0.4,
        ),
        Scenario(
            "opening_hours",
            "store",
            6,
            ("¿Hasta qué hora abren hoy?", "Abren los sábados?"),
            (),
            ("Abrimos de lunes a viernes de 9 a 19 y los sábados de 9 a 13.",),
            0.02,
            0.03,
        ),
    ),
    "CLINIC": (
        Scenario(
            "book_appointment",
            "appointments",
            36,
            (
                "Hola, quisiera un turno para {product}",
                "¿Tienen hora el {day}?",
                "Necesito cita para {product} cuanto antes",
            ),
            ("consultar_agenda", "reservar_turno"),
            ("Listo {name}, te agendé {product} para el {day}.", "Tengo lugar el {day} a las 10:30, ¿te sirve?"),
            0.12,
            0.07,
        ),
        Scenario(
            "reschedule_appointment",
            "appointments",
            17,
            ("Tengo que cambiar mi cita del {day}", "No llego al turno, ¿lo pasamos?"),
            ("consultar_agenda", "reservar_turno"),
            ("Sin problema {name}, lo paso al {day}.",),
            0.18,
            0.15,
        ),
        Scenario(
            "cancel_appointment",
            "appointments",
            9,
            ("Quiero cancelar la cita", "Cancelen mi turno del {day} por favor"),
            ("cancelar_turno",),
            ("Tu turno del {day} quedó cancelado.",),
            0.1,
            0.18,
        ),
        Scenario(
            "price_inquiry",
            "prices",
            18,
            ("¿Cuánto cuesta {product}?", "¿Precio de {product} sin seguro?"),
            ("consultar_arancel",),
            ("{product} cuesta ${amount}. Con tu mutua puede ser menos.",),
            0.09,
            0.05,
        ),
        Scenario(
            "insurance_question",
            "insurance",
            12,
            ("¿Trabajan con mi obra social?", "¿Aceptan Sanitas para {product}?"),
            ("consultar_cobertura",),
            ("Sí, {name}: la cobertura es del 80 % para {product}.", "Esa cobertura la tiene que revisar una persona."),
            0.33,
            0.2,
        ),
        Scenario(
            "complaint",
            "complaints",
            8,
            ("Esperé una hora y nadie me atendió", "Me duele desde la {product} y nadie responde!!"),
            (),
            ("Lamento mucho lo que cuentas, {name}. Lo paso ahora mismo al equipo.",),
            0.82,
            0.93,
        ),
    ),
}

FOLLOW_UPS = (
    "¿Y cuánto tarda?",
    "ok, y se puede pagar en efectivo?",
    "mi mail es {email}",
    "soy {name} {surname}, DNI {document}",
    "¿hacen factura A?",
    "perfecto, son {quantity}",
    "te paso la foto",
    "no entiendo",
    "sí",
    "dale 👍",
    "¿a qué hora?",
)
AGENT_FOLLOW_UPS = (
    "Sí, {name}, lo dejo anotado.",
    "Demora entre 24 y 48 horas.",
    "Claro, te lo envío a {email}.",
    "Gracias. ¿Algo más en lo que te pueda ayudar?",
    "Eso lo confirmamos el {day}.",
)
OPERATOR_TEXTS = (
    "Hola {name}, soy {operator}. Ya estoy con tu caso.",
    "Revisé todo y queda resuelto, disculpá la demora.",
    "Te hago la nota de crédito por ${amount}.",
    "Mañana te llamo y lo cerramos.",
    "Confirmado para el {day} 👌",
)
THANKS = ("Gracias!", "genial, muchas gracias 🙏", "listo", "Mil gracias {operator}", "ok", "buenísimo", "🙌")
ANGRY = (
    "Pésima atención",
    "sigo esperando!!!",
    "ya me lo dijeron tres veces",
    "voy a reclamar en defensa del consumidor",
)
SYSTEM_TEXTS = ("Conversación derivada al equipo de atención", "Conversación asignada a {operator}")
CAMPAIGNS = {
    "ECOMMERCE": "¡Hola {name}! Esta semana {product} tiene 20% off. Respondé SI para reservar.",
    "CLINIC": "Hola {name}, te recordamos tu cita de {product} el {day}. Responde 1 para confirmar.",
}
