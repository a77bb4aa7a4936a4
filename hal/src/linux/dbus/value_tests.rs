//! D-Bus values there and back, and bytes that are none; it must not need a bus.

use super::*;
use proptest::prelude::*;

fn there_and_back(value: &Value) -> Value {
    let mut encoder = Encoder::default();
    encoder.value(value);
    let bytes = encoder.into_bytes();
    let mut decoder = Decoder::new(&bytes, Order::Little);
    let mut values = decoder.values(&value.signature()).unwrap();
    assert_eq!(decoder.at(), bytes.len());
    values.remove(0)
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<u8>().prop_map(Value::Byte),
        any::<bool>().prop_map(Value::Bool),
        any::<i16>().prop_map(|number| Value::Signed('n', number.into())),
        any::<i32>().prop_map(|number| Value::Signed('i', number.into())),
        any::<i64>().prop_map(|number| Value::Signed('x', number)),
        any::<u16>().prop_map(|number| Value::Unsigned('q', number.into())),
        any::<u32>().prop_map(Value::number),
        any::<u64>().prop_map(|number| Value::Unsigned('t', number)),
        (-1e9..1e9).prop_map(Value::Double),
        "\\PC{0,9}".prop_map(|text| Value::Text('s', text)),
        proptest::collection::vec(any::<u8>(), 0..9).prop_map(Value::Bytes),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            inner
                .clone()
                .prop_map(|value| Value::Variant(Box::new(value))),
            proptest::collection::vec(inner.clone(), 1..4).prop_map(Value::Struct),
            (inner, 0_usize..4, any::<u32>()).prop_map(|(value, length, key)| {
                let value = Value::Variant(Box::new(value));
                let entry = Value::Entry(Box::new((Value::number(key), value)));
                Value::Array("{uv}".into(), vec![entry; length])
            }),
        ]
    })
}

#[test]
fn known_bytes_are_those_of_the_specification() {
    let mut encoder = Encoder::default();
    encoder.value(&Value::Byte(7));
    encoder.value(&Value::text("foo"));
    encoder.value(&Value::Array("x".into(), vec![Value::Signed('x', 5)]));
    assert_eq!(
        encoder.into_bytes(),
        [
            7, 0, 0, 0, 3, 0, 0, 0, b'f', b'o', b'o', 0, 8, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0
        ]
    );
    let big = [0, 0, 0, 3, b'f', b'o', b'o', 0];
    let read = Decoder::new(&big, Order::Big).values("s").unwrap();
    assert_eq!(read, [Value::text("foo")]);
}

#[test]
fn bytes_that_lie_too_deep_are_cut_or_go_on_for_ever_are_no_value() {
    let deep = [b"\x01v\0".as_slice().repeat(40), b"\x01y\0\x01".to_vec()].concat();
    let no = |bytes: &[u8], kind: &str| {
        assert_eq!(
            Decoder::new(bytes, Order::Little).values(kind),
            Err(NoValue),
            "{kind}"
        );
    };
    no(&deep, "v");
    no(&[255, 255, 255, 255], "ay");
    no(&[255, 255, 255, 255], "au");
    no(&[8, 0, 0, 0, 1, 0, 0, 0, 1], "au");
    no(&[4, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1], "a()");
    no(&[3, 0, 0, 0, 1, 0, 0, 0], "au");
    no(&[1, 0, 0, 0, 0xff, 0], "s");
    for kind in ["a", "(", "(u", "u)", "{u", "z", "av)", "a{u}", "é"] {
        no(&[0; 64][..if kind == "a{u}" { 3 } else { 64 }], kind);
    }
}

proptest! {
    #[test]
    fn every_value_comes_back(value in any_value()) {
        prop_assert_eq!(there_and_back(&value), value);
    }

    #[test]
    fn arbitrary_bytes_of_arbitrary_types_never_panic(
        bytes in proptest::collection::vec(any::<u8>(), 0..200), kind in "[ybnqiuxtdsogvah(){}]{0,12}"
    ) {
        let _ = Decoder::new(&bytes, Order::Little).values(&kind);
        let _ = Decoder::new(&bytes, Order::Big).values("a{oa{sa{sv}}}");
    }
}
