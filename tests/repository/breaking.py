"""What breaks clients between two OpenAPI documents, as a sentence each.

What a client sends must still be taken: nothing that requests may have is taken away, becomes
required, or is held to narrower rules. What a client reads must still come: nothing that
replies have is taken away, becomes optional, or gets values that a generated client does not
know. New operations, new optional parameters, new properties of replies and new statuses of
errors break nobody."""

METHODS = ("get", "put", "post", "delete", "head", "options", "patch", "trace")
#: What the description of a schema says whose values become more.
GROWS = "A later version may add"
#: Rules of JSON Schema of which a lower value, or a higher one, is narrower.
UPPER = ("maximum", "maxLength", "maxItems", "maxProperties")
LOWER = ("minimum", "minLength", "minItems", "minProperties")


def breaking(old, new):
    """Every change from `old` to `new` that breaks somebody."""
    return list(dict.fromkeys(_Comparison(old, new).operations()))


class _Comparison:
    def __init__(self, old, new):
        self.old, self.new = old, new
        self.seen = set()

    def of_old(self, value):
        return _resolved(self.old, value)

    def of_new(self, value):
        return _resolved(self.new, value)

    def operations(self):
        for path, methods in self.old["paths"].items():
            for method in filter(METHODS.__contains__, methods):
                there = self.new["paths"].get(path, {})
                name = f"{method.upper()} {path}"
                if method not in there:
                    yield f"{name} is gone"
                    continue
                shared = methods.get("parameters", []), there.get("parameters", [])
                yield from self.operation(name, methods[method], there[method], shared)

    def operation(self, name, old, new, shared):
        if old.get("operationId") != new.get("operationId"):
            yield f"{name}: operationId was {old.get('operationId')}, by which clients name it"
        security = (o.get("security", d.get("security", [])) for o, d in ((old, self.old), (new, self.new)))
        before, now = ([set(way) for way in ways] for ways in security)
        for way in before:
            # A new way beside it, or none at all, refuses nobody.
            if now and not any(other <= way for other in now):
                yield f"{name}: callers by {' and '.join(sorted(way)) or 'nothing'} are refused"
        yield from self.parameters(
            name,
            {(p["name"], p["in"]): p for p in map(self.of_old, old.get("parameters", []) + shared[0])},
            {(p["name"], p["in"]): p for p in map(self.of_new, new.get("parameters", []) + shared[1])},
        )
        yield from self.body(name, self.of_old(old.get("requestBody")), self.of_new(new.get("requestBody")))
        for status, reply in old["responses"].items():
            there = new["responses"].get(status)
            if there is None:
                # Whoever handles an error that no longer comes is not harmed.
                if status.startswith(("2", "3")):
                    yield f"{name}: the reply {status} is gone"
                continue
            yield from self.reply(f"{name}: {status}", self.of_old(reply), self.of_new(there))

    def parameters(self, name, old, new):
        for key, parameter in old.items():
            where = f"{name}: {key[1]} parameter {key[0]}"
            if key not in new:
                yield f"{where} is gone"
                continue
            if new[key].get("required") and not parameter.get("required"):
                yield f"{where} is required now"
            for part in ("style", "explode"):
                if parameter.get(part) != new[key].get(part):
                    yield f"{where} is written otherwise ({part})"
            yield from self.sent(where, parameter.get("schema", {}), new[key].get("schema", {}))
        for key, parameter in new.items():
            if key not in old and parameter.get("required"):
                yield f"{name}: {key[1]} parameter {key[0]} is new and required"

    def body(self, name, old, new):
        if new and new.get("required") and not (old or {}).get("required"):
            yield f"{name}: a body is required now"
        if old and not new:
            yield f"{name}: no body is taken any more"
            return
        for kind, media in (old or {}).get("content", {}).items():
            if kind not in new["content"]:
                yield f"{name}: a body of {kind} is not taken any more"
                continue
            where = f"{name}: body"
            yield from self.sent(where, media.get("schema", {}), new["content"][kind].get("schema", {}))

    def reply(self, where, old, new):
        for header in old.get("headers", {}):
            if header.lower() not in map(str.lower, new.get("headers", {})):
                yield f"{where}: the header {header} is gone"
        if new.get("content") and not old.get("content"):
            yield f"{where}: there is a body now"
        for kind, media in old.get("content", {}).items():
            if kind not in new.get("content", {}):
                yield f"{where}: a body of {kind} does not come any more"
                continue
            yield from self.read(where, media.get("schema", {}), new["content"][kind].get("schema", {}))

    def sent(self, where, old, new):
        """What a client may send by the schema `old` is taken by `new`."""
        yield from self.schemas("sent", where, old, new)

    def read(self, where, old, new):
        """What comes by the schema `new` is understood by whoever knows `old`."""
        yield from self.schemas("read", where, old, new)

    def schemas(self, way, where, old, new):
        # A schema that is named in many places is compared once.
        names = way, old.get("$ref"), new.get("$ref")
        if names[1] and names[2]:
            if names in self.seen:
                return
            self.seen.add(names)
            where = f"{'request' if way == 'sent' else 'reply'} {names[1].rpartition('/')[2]}"
        old, new = self.of_old(old), self.of_new(new)
        is_sent = way == "sent"
        # What is given has to be a part of what is taken.
        given, taken = (old, new) if is_sent else (new, old)
        more = _types(given) - _types(taken)
        if _types(taken) and (more or not _types(given)):
            can_be = ", ".join(sorted(more)) or "anything"
            yield f"{where}: {f'{can_be} is not taken any more' if is_sent else f'can be {can_be} now'}"
        yield from self.values(is_sent, where, given, taken)
        if is_sent:
            yield from _narrower(where, old, new)
        elif old.get("format") != new.get("format"):
            yield f"{where}: the format was {old.get('format')}"
        yield from self.members(way, where, old, new)
        if "items" in old and "items" in new:
            yield from self.schemas(way, f"{where}[]", old["items"], new["items"])
        if isinstance(old.get("additionalProperties"), dict):
            others = new.get("additionalProperties")
            if isinstance(others, dict):
                yield from self.schemas(way, f"{where}.*", old["additionalProperties"], others)
        for choice in ("oneOf", "anyOf", "allOf"):
            yield from self.choices(way, where, choice, old, new)

    def values(self, is_sent, where, given, taken):
        """Nothing is among the values of `given` that is not among those of `taken`."""
        listed, known = _values(given), _values(taken)
        if known is None:
            return
        if listed is None:
            yield f"{where}: {'is one of few values now' if is_sent else 'can have any value now'}"
            return
        # Whoever was told that there would be more values is not surprised.
        if not is_sent and GROWS in taken.get("description", ""):
            return
        for value in sorted(listed - known, key=str):
            yield f"{where}: {value} is {'not taken any more' if is_sent else 'a new value'}"

    def members(self, way, where, old, new):
        before, now = old.get("properties", {}), new.get("properties", {})
        required, requires = set(old.get("required", [])), set(new.get("required", []))
        for name, schema in before.items():
            if name not in now:
                yield f"{where}.{name} is gone"
            else:
                yield from self.schemas(way, f"{where}.{name}", schema, now[name])
        changed = requires - required if way == "sent" else (required - requires) & set(now)
        for name in sorted(changed):
            yield f"{where}.{name} is {'required now' if way == 'sent' else 'not always there any more'}"
        if way == "sent" and new.get("additionalProperties") is False and (
            old.get("additionalProperties") is not False
        ):
            yield f"{where}: members that are not listed are refused now"

    def choices(self, way, where, choice, old, new):
        """Schemas of which one holds (or all): told apart by their names, or by their order."""
        before, now = ({_name(s, n): s for n, s in enumerate(d.get(choice, []))} for d in (old, new))
        for name in before.keys() & now.keys():
            yield from self.schemas(way, f"{where} ({name})", before[name], now[name])
        gone, new_ones = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
        if way == "sent" and choice != "allOf":
            yield from (f"{where}: {name} is not taken any more" for name in gone if now)
        elif way == "sent":
            yield from (f"{where}: must be {name} as well" for name in new_ones)
        elif choice == "allOf":
            yield from (f"{where}: is not {name} any more" for name in gone)
        else:
            yield from (f"{where}: can be {name} now" for name in new_ones if before)


def _resolved(document, value):
    while isinstance(value, dict) and "$ref" in value:
        found = document
        for part in value["$ref"].removeprefix("#/").split("/"):
            found = found[part.replace("~1", "/").replace("~0", "~")]
        value = found
    return value


def _types(schema):
    """The types that a schema names; none if it names none."""
    found = schema.get("type", [])
    types = {found} if isinstance(found, str) else set(found)
    # Every integer is a number.
    return types | {"integer"} if "number" in types else types


def _values(schema):
    if "const" in schema:
        return {schema["const"]}
    return set(schema["enum"]) if "enum" in schema else None


def _narrower(where, old, new):
    for rule in UPPER + LOWER:
        if rule not in new:
            continue
        is_narrower = rule not in old or (
            new[rule] < old[rule] if rule in UPPER else new[rule] > old[rule]
        )
        if is_narrower:
            yield f"{where}: {rule} is {new[rule]} now, and was {old.get(rule, 'not said')}"
    for rule in ("pattern", "format", "multipleOf"):
        if rule in new and new[rule] != old.get(rule):
            yield f"{where}: {rule} is {new[rule]} now, and was {old.get(rule, 'not said')}"
    if new.get("uniqueItems") and not old.get("uniqueItems"):
        yield f"{where}: items must differ now"


def _name(schema, number):
    if "$ref" in schema:
        return schema["$ref"].rpartition("/")[2]
    types = "/".join(sorted(_types(schema)))
    # What tells the variants of a tagged union apart.
    tags = [str(s["const"]) for s in schema.get("properties", {}).values() if "const" in s]
    tags += [s["enum"][0] for s in schema.get("properties", {}).values() if len(s.get("enum", [])) == 1]
    return " ".join(tags) or schema.get("title") or types or f"choice {number + 1}"
