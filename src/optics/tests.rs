//! The dumps here are put together octet by octet from the layouts of SFF-8472 rev 12.4, SFF-8636 rev 2.11 and OIF-CMIS
//! 5.2, each value chosen so that what it must decode to can be told by hand (0x2190 is 8592; times 0.1 uW that is
//! 0.8592 mW, or -0.659 dBm). None is a real module's.

use std::collections::HashMap;

use proptest::prelude::*;

use super::*;

const A0: Page = Page::LOWER;
const A2: Page = Page::DIAGNOSTICS;

/// A module's memory by page.
type Dump = HashMap<Page, Vec<u8>>;

fn put(page: &mut [u8], at: usize, octets: &[u8]) {
    page[at..at + octets.len()].copy_from_slice(octets);
}

fn text(page: &mut [u8], at: usize, len: usize, text: &str) {
    put(page, at, format!("{text:len$}").as_bytes());
}

fn words(page: &mut [u8], at: usize, words: &[u16]) {
    let octets: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    put(page, at, &octets);
}

fn sum(page: &mut [u8], from: usize, at: usize) {
    page[at] = page[from..at].iter().fold(0, |sum: u8, octet| sum.wrapping_add(*octet));
}

fn decoded(dump: &Dump) -> Module {
    decode(|page| dump.get(&page).cloned().ok_or("no such page")).unwrap()
}

fn value(module: &Module, quantity: Quantity, lane: Option<u8>) -> f64 {
    reading(module, quantity, lane).value
}

fn reading(module: &Module, quantity: Quantity, lane: Option<u8>) -> Reading {
    let found = module.readings.iter().find(|r| (r.quantity, r.lane) == (quantity, lane));
    *found.unwrap_or_else(|| panic!("no {quantity:?} of {lane:?}: {module:?}"))
}

fn near(got: f64, wanted: f64) {
    assert!((got - wanted).abs() < 0.001, "{got} is not {wanted}");
}

/// A 10GBASE-LR SFP+ with internal calibration.
fn sfp() -> Dump {
    let mut a0 = vec![0; HALF];
    put(&mut a0, 0, &[0x03, 0x04, 0x07, 0x20]);
    text(&mut a0, 20, 16, "ACME OPTICS");
    text(&mut a0, 40, 16, "AC-10G-LR");
    text(&mut a0, 56, 4, "B2");
    words(&mut a0, 60, &[1310]);
    text(&mut a0, 68, 16, "SN0042");
    text(&mut a0, 84, 8, "260131");
    a0[92] = 0x68; // diagnostics, internally calibrated, average power
    sum(&mut a0, 0, 63);
    sum(&mut a0, 64, 95);
    let mut a2 = vec![0; HALF];
    words(&mut a2, 0, &[75 << 8, 0xfb00, 70 << 8, 0]); // 75, -5, 70, 0 degrees
    words(&mut a2, 8, &[36_000, 30_000, 35_000, 31_000]);
    words(&mut a2, 16, &[40_000, 5_000, 35_000, 10_000]); // 80, 10, 70, 20 mA
    words(&mut a2, 24, &[15_849, 1_000, 12_589, 1_259]); // +2, -10, +1, -9 dBm
    words(&mut a2, 32, &[15_849, 158, 12_589, 251]); // +2, -18, +1, -16 dBm
    words(&mut a2, 96, &[0x1f80, 33_000, 15_000, 6_310, 200]); // 31.5, 3.3 V, 30 mA, -2 dBm, -16.99 dBm
    sum(&mut a2, 0, 95);
    [(A0, a0), (A2, a2)].into()
}

#[test]
fn an_sfp_with_internal_calibration() {
    let module = decoded(&sfp());
    let named = |text: &str| Some(text.to_owned());
    assert_eq!((&*module.kind, module.media.clone()), ("SFP", named("10GBASE-LR")));
    assert_eq!((module.connector.clone(), module.wavelength_nm), (named("LC"), Some(1310.0)));
    assert_eq!(
        (module.vendor.clone(), module.part.clone()),
        (named("ACME OPTICS"), named("AC-10G-LR"))
    );
    assert_eq!((module.revision.clone(), module.serial.clone()), (named("B2"), named("SN0042")));
    assert_eq!((module.notes.len(), module.readings.len()), (0, 5), "{module:?}");
    near(value(&module, Quantity::TemperatureC, None), 31.5);
    near(value(&module, Quantity::VoltageV, None), 3.3);
    near(value(&module, Quantity::TxBiasMa, Some(1)), 30.0);
    near(value(&module, Quantity::TxPowerDbm, Some(1)), -2.0);
    let light = reading(&module, Quantity::RxPowerDbm, Some(1));
    near(light.value, -16.9897);
    let limits = light.limits.unwrap();
    for (limit, wanted) in [
        (limits.low_alarm, -18.0135),
        (limits.low_warning, -16.0033),
        (limits.high_warning, 1.0),
        (limits.high_alarm, 2.0),
    ] {
        near(limit, wanted);
    }
    assert_eq!(light.alarm, Some(Alarm::LowWarning));
    let temperature = reading(&module, Quantity::TemperatureC, None);
    assert_eq!(temperature.alarm, Some(Alarm::Ok));
    assert_eq!(temperature.limits.unwrap().low_alarm, -5.0);
}

#[test]
fn light_that_is_lost_is_an_alarm_and_a_flag() {
    let mut dump = sfp();
    let a2 = dump.get_mut(&A2).unwrap();
    words(a2, 104, &[0]);
    a2[110] = 0b110;
    let module = decoded(&dump);
    let light = reading(&module, Quantity::RxPowerDbm, Some(1));
    assert_eq!((light.value, light.alarm), (-40.0, Some(Alarm::LowAlarm)));
    assert_eq!((&*module.rx_loss_lanes, &*module.tx_fault_lanes), (&[1][..], &[1][..]));
}

#[test]
fn values_on_a_limit_are_within() {
    let limits =
        Limits { low_alarm: -18.0, low_warning: -16.0, high_warning: 1.0, high_alarm: 2.0 };
    for (value, alarm) in [
        (-18.1, Alarm::LowAlarm),
        (-18.0, Alarm::LowWarning),
        (-16.0, Alarm::Ok),
        (1.0, Alarm::Ok),
        (1.1, Alarm::HighWarning),
        (2.0, Alarm::HighWarning),
        (2.1, Alarm::HighAlarm),
    ] {
        assert_eq!(limits.judge(value), alarm, "{value}");
    }
    near(Reading::watts(0.0) * 1000.0, 1.0);
    near(Reading::watts(-30.0) * 1e6, 1.0);
}

/// The same SFP, externally calibrated: temperature twice as steep and 10 degrees more, voltage half, bias three
/// quarters and 500 units less, sent power 1.5 times, received power 0.5 x + 100 and a millionth of the square.
fn externally_calibrated() -> Dump {
    let mut dump = sfp();
    let a0 = dump.get_mut(&A0).unwrap();
    a0[92] = 0x58;
    sum(a0, 64, 95);
    let a2 = dump.get_mut(&A2).unwrap();
    for (at, constant) in [(56, 0.0_f32), (60, 0.0), (64, 1e-6), (68, 0.5), (72, 100.0)] {
        put(a2, at, &constant.to_be_bytes());
    }
    words(a2, 76, &[0x00c0, (-500_i16).cast_unsigned()]);
    words(a2, 80, &[0x0180, 0]);
    words(a2, 84, &[0x0200, 10 << 8]);
    words(a2, 88, &[0x0080, 0]);
    words(a2, 96, &[0xff00, 33_000, 15_000, 6_310, 2_000]); // -1 degree, raw
    sum(a2, 0, 95);
    dump
}

#[test]
fn an_sfp_with_external_calibration() {
    let module = decoded(&externally_calibrated());
    assert_eq!(module.notes, [""; 0], "{module:?}");
    near(value(&module, Quantity::TemperatureC, None), 8.0); // 2 * -1 + 10
    near(value(&module, Quantity::VoltageV, None), 1.65);
    near(value(&module, Quantity::TxBiasMa, Some(1)), 21.5); // (0.75 * 15000 - 500) * 2 uA
    near(value(&module, Quantity::TxPowerDbm, Some(1)), -0.239); // 0.9465 mW
    let light = reading(&module, Quantity::RxPowerDbm, Some(1));
    near(light.value, -9.570); // 4 + 1000 + 100 = 1104 tenths of uW
    // Limits are raw as well: 158 is 179.025 tenths of uW.
    near(light.limits.unwrap().low_alarm, -17.471);
    near(reading(&module, Quantity::TemperatureC, None).limits.unwrap().low_alarm, 0.0);
}

#[test]
fn calibration_that_cannot_be_believed_gives_no_value() {
    let mut dump = externally_calibrated();
    let a2 = dump.get_mut(&A2).unwrap();
    a2[95] ^= 1;
    let module = decoded(&dump);
    assert_eq!(module.readings, []);
    assert!(module.notes[0].contains("without measurements"), "{module:?}");
    for constant in [f32::NAN, f32::INFINITY, f32::MAX] {
        let mut dump = externally_calibrated();
        let a2 = dump.get_mut(&A2).unwrap();
        put(a2, 56, &constant.to_be_bytes());
        put(a2, 60, &(-constant).to_be_bytes());
        sum(a2, 0, 95);
        let module = decoded(&dump);
        assert!(module.readings.iter().all(|r| r.value.is_finite()), "{module:?}");
    }
}

#[test]
fn checksums_that_are_wrong_are_told() {
    let mut dump = sfp();
    dump.get_mut(&A0).unwrap()[25] ^= 0x20;
    dump.get_mut(&A2).unwrap()[0] ^= 1;
    let module = decoded(&dump);
    assert!(module.notes.iter().any(|n| n.contains("of its identity is wrong")), "{module:?}");
    assert!(module.notes.iter().any(|n| n.contains("shown without limits")), "{module:?}");
    let light = reading(&module, Quantity::RxPowerDbm, Some(1));
    near(light.value, -16.9897);
    assert_eq!((light.limits, light.alarm), (None, None));
}

#[test]
fn an_sfp_that_measures_nothing_is_asked_for_nothing() {
    for (octet, note) in [(0x00, None), (0x6c, Some("address change"))] {
        let mut dump = sfp();
        let a0 = dump.get_mut(&A0).unwrap();
        a0[92] = octet;
        sum(a0, 64, 95);
        dump.remove(&A2);
        let module = decoded(&dump);
        assert_eq!(module.readings, []);
        assert_eq!(module.notes.iter().any(|n| n.contains(note.unwrap_or("."))), note.is_some());
    }
    let mut dump = sfp();
    dump.get_mut(&A2).unwrap()[110] = 1;
    assert!(decoded(&dump).notes[0].contains("not ready"));
    dump.remove(&A2);
    let module = decoded(&dump);
    assert_eq!(module.notes, ["diagnostics (A2h): no such page"]);
    assert_eq!(module.vendor.as_deref(), Some("ACME OPTICS"), "the rest is shown");
}

#[test]
fn a_copper_cable_has_no_wavelength() {
    let mut dump = sfp();
    let a0 = dump.get_mut(&A0).unwrap();
    put(a0, 2, &[0x21, 0]);
    (a0[8], a0[92]) = (0x04, 0);
    words(a0, 60, &[0x0100]);
    sum(a0, 0, 63);
    sum(a0, 64, 95);
    let module = decoded(&dump);
    assert_eq!(module.media.as_deref(), Some("passive copper cable"));
    assert_eq!(module.connector.as_deref(), Some("copper pigtail"));
    assert_eq!((module.wavelength_nm, module.notes.len()), (None, 0));
}

/// A 100GBASE-LR4 QSFP28 of four lanes, the third without light.
fn qsfp() -> Dump {
    let mut lower = vec![0; HALF];
    put(&mut lower, 0, &[0x11, 0x08, 0x00, 0b0100]);
    words(&mut lower, 22, &[0x2880]); // 40.5 degrees
    words(&mut lower, 26, &[32_500]);
    words(&mut lower, 34, &[10_000, 5_012, 0, 7_943]); // 0, -3, none, -1 dBm
    words(&mut lower, 42, &[20_000, 20_500, 21_000, 21_500]); // 40 to 43 mA
    words(&mut lower, 50, &[12_589, 10_000, 7_943, 10_000]); // 1, 0, -1, 0 dBm
    let mut upper = vec![0; HALF];
    put(&mut upper, 0, &[0x11, 0xdc, 0x07, 0x80]);
    text(&mut upper, 148 - 128, 16, "ACME OPTICS");
    text(&mut upper, 168 - 128, 16, "AC-100G-LR4");
    text(&mut upper, 184 - 128, 2, "A");
    words(&mut upper, 186 - 128, &[26_041]); // 1302.05 nm
    upper[192 - 128] = 0x03;
    text(&mut upper, 196 - 128, 16, "SN7");
    upper[220 - 128] = 0b0011_1100;
    sum(&mut upper, 0, 191 - 128);
    sum(&mut upper, 192 - 128, 223 - 128);
    let mut limits = vec![0; HALF];
    words(&mut limits, 0, &[75 << 8, 0xfb00, 40 << 8, 0]);
    words(&mut limits, 144 - 128, &[36_300, 29_700, 34_650, 31_350]);
    words(&mut limits, 176 - 128, &[35_481, 794, 28_184, 1_000]);
    words(&mut limits, 184 - 128, &[60_000, 5_000, 50_000, 10_000]);
    words(&mut limits, 192 - 128, &[35_481, 794, 28_184, 1_000]);
    [(A0, lower), (Page::upper(0), upper), (Page::upper(3), limits)].into()
}

#[test]
fn a_qsfp_has_four_lanes() {
    let module = decoded(&qsfp());
    assert_eq!(
        (&*module.kind, module.media.as_deref()),
        ("QSFP28", Some("100GBASE-LR4 or 25GBASE-LR"))
    );
    assert_eq!(
        (module.part.as_deref(), module.wavelength_nm),
        (Some("AC-100G-LR4"), Some(1302.05))
    );
    assert_eq!((module.serial.as_deref(), module.notes.len()), (Some("SN7"), 0), "{module:?}");
    assert_eq!(module.readings.len(), 2 + 3 * 4);
    let temperature = reading(&module, Quantity::TemperatureC, None);
    assert_eq!((temperature.value, temperature.alarm), (40.5, Some(Alarm::HighWarning)));
    near(value(&module, Quantity::VoltageV, None), 3.25);
    near(value(&module, Quantity::TxBiasMa, Some(4)), 43.0);
    near(value(&module, Quantity::TxPowerDbm, Some(3)), -1.0);
    near(value(&module, Quantity::RxPowerDbm, Some(2)), -3.0);
    assert_eq!(reading(&module, Quantity::RxPowerDbm, Some(3)).alarm, Some(Alarm::LowAlarm));
    assert_eq!(reading(&module, Quantity::RxPowerDbm, Some(4)).alarm, Some(Alarm::Ok));
    assert_eq!((&*module.rx_loss_lanes, module.tx_fault_lanes.len()), (&[3][..], 0));
}

#[test]
fn a_qsfp_of_flat_memory_or_of_copper_has_no_limits_and_no_light() {
    let mut dump = qsfp();
    dump.get_mut(&A0).unwrap()[2] = 1 << 2;
    dump.remove(&Page::upper(3));
    let module = decoded(&dump);
    assert_eq!(module.notes, [""; 0]);
    assert_eq!(reading(&module, Quantity::RxPowerDbm, Some(1)).limits, None);
    let mut dump = qsfp();
    let upper = dump.get_mut(&Page::upper(0)).unwrap();
    upper[147 - 128] = 0xa0;
    sum(upper, 0, 191 - 128);
    let module = decoded(&dump);
    assert_eq!((module.readings.len(), module.wavelength_nm), (0, None));
}

/// A 400GBASE-DR4 QSFP-DD: four of eight lanes, bias in units of 4 uA.
fn cmis() -> Dump {
    let mut lower = vec![0; HALF];
    put(&mut lower, 0, &[0x18, 0x52, 0x00]);
    words(&mut lower, 14, &[0x3000, 33_000]); // 48 degrees
    put(&mut lower, 85, &[0x02, 0x11, 0x1c, 0x84, 0x01]);
    let mut upper = vec![0; HALF];
    upper[0] = 0x18;
    text(&mut upper, 129 - 128, 16, "ACME OPTICS");
    text(&mut upper, 148 - 128, 16, "AC-400G-DR4");
    text(&mut upper, 164 - 128, 2, "01");
    text(&mut upper, 166 - 128, 16, "SN400");
    upper[203 - 128] = 0x0c;
    upper[210 - 128] = 0xf0;
    sum(&mut upper, 0, 222 - 128);
    let mut advertised = vec![0; HALF];
    words(&mut advertised, 138 - 128, &[26_220]);
    put(&mut advertised, 159 - 128, &[0b11, 0b1111]);
    let mut limits = vec![0; HALF];
    words(&mut limits, 0, &[75 << 8, 0xfb00, 70 << 8, 0]);
    words(&mut limits, 8, &[36_300, 29_700, 34_650, 31_350]);
    words(&mut limits, 176 - 128, &[35_481, 794, 28_184, 1_000]);
    words(&mut limits, 184 - 128, &[30_000, 2_500, 25_000, 5_000]);
    words(&mut limits, 192 - 128, &[35_481, 794, 28_184, 1_000]);
    sum(&mut limits, 0, 255 - 128);
    let mut lanes = vec![0; HALF];
    lanes[147 - 128] = 0b1111_0010;
    words(&mut lanes, 154 - 128, &[10_000, 12_589, 7_943, 10_000, 0, 0, 0, 0]);
    words(&mut lanes, 170 - 128, &[10_000, 11_000, 12_000, 13_000, 0, 0, 0, 0]);
    words(&mut lanes, 186 - 128, &[10_000, 500, 7_943, 900, 0, 0, 0, 0]);
    let pages = [(0x00, upper), (0x01, advertised), (0x02, limits), (0x11, lanes)];
    let pages = pages.into_iter().map(|(page, octets)| (Page::upper(page), octets));
    std::iter::once((A0, lower)).chain(pages).collect()
}

#[test]
fn a_cmis_module_has_the_lanes_that_it_has() {
    let module = decoded(&cmis());
    assert_eq!((&*module.kind, module.media.as_deref()), ("QSFP-DD", Some("400GBASE-DR4")));
    assert_eq!(
        (module.connector.as_deref(), module.wavelength_nm),
        (Some("MPO 1x12"), Some(1311.0))
    );
    assert_eq!((module.serial.as_deref(), module.notes.len()), (Some("SN400"), 0), "{module:?}");
    assert_eq!(module.readings.len(), 2 + 3 * 4);
    near(value(&module, Quantity::TemperatureC, None), 48.0);
    let bias = reading(&module, Quantity::TxBiasMa, Some(4));
    near(bias.value, 52.0);
    near(bias.limits.unwrap().high_alarm, 120.0);
    near(value(&module, Quantity::TxPowerDbm, Some(2)), 1.0);
    for (lane, alarm) in
        [(1, Alarm::Ok), (2, Alarm::LowAlarm), (3, Alarm::Ok), (4, Alarm::LowWarning)]
    {
        assert_eq!(reading(&module, Quantity::RxPowerDbm, Some(lane)).alarm, Some(alarm));
    }
    assert_eq!(module.rx_loss_lanes, [2], "lanes that are not there lose nothing");
}

#[test]
fn a_cmis_module_of_flat_memory_is_known_by_name() {
    let mut dump = cmis();
    let lower = dump.get_mut(&A0).unwrap();
    (lower[2], lower[85]) = (1 << 7, 3);
    dump.retain(|page, _| [A0, Page::upper(0)].contains(page));
    let module = decoded(&dump);
    assert_eq!((module.vendor.as_deref(), module.notes.len()), (Some("ACME OPTICS"), 0));
    assert_eq!(module.media.as_deref(), Some("passive copper cable"));
    let mut dump = cmis();
    dump.get_mut(&Page::upper(2)).unwrap()[127] ^= 1;
    let module = decoded(&dump);
    assert!(module.notes[0].contains("shown without"), "{module:?}");
    assert!(module.readings.iter().all(|reading| reading.alarm.is_none()));
}

#[test]
fn a_stranger_is_called_one() {
    let xfp = [(A0, vec![0x06; HALF])].into();
    let module = decoded(&xfp);
    assert_eq!((&*module.kind, module.readings.len()), ("XFP", 0));
    assert!(module.notes[0].contains("none of SFF-8472"), "{module:?}");
    let module = decoded(&[(A0, vec![0xee; HALF])].into());
    assert_eq!(module.kind, "unknown (0xee)");
    let module = decoded(&[(A0, Vec::new())].into());
    assert_eq!((&*module.kind, module.notes.len()), ("unknown", 1));
    let refused = decode(|_| Err::<Vec<u8>, _>("it does not answer"));
    assert_eq!(refused.unwrap_err(), "it does not answer");
}

#[test]
fn names_cannot_harm_a_terminal() {
    let mut dump = sfp();
    put(dump.get_mut(&A0).unwrap(), 20, b"\x1b[2JACME\n\xff\x00\x00\x00\x00\x00\x00");
    assert_eq!(decoded(&dump).vendor.as_deref(), Some(".[2JACME."));
    put(dump.get_mut(&A0).unwrap(), 20, &[0xff; 16]);
    assert_eq!(decoded(&dump).vendor, None);
}

#[test]
fn a_dump_may_end_anywhere() {
    for dump in [sfp(), externally_calibrated(), qsfp(), cmis()] {
        for page in dump.keys() {
            for length in 0..HALF {
                let mut cut = dump.clone();
                cut.get_mut(page).unwrap().truncate(length);
                let module = decoded(&cut);
                assert!(!module.notes.is_empty(), "{page:?} of {length}: {module:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn garbage_is_no_number_that_is_none(
        identifier in prop::sample::select(vec![0x02_u8, 0x03, 0x0d, 0x11, 0x18, 0x19, 0x20, 0x77]),
        octets in prop::collection::vec(any::<u8>(), 0..1024),
    ) {
        let mut number = 0;
        let mut page = |_| {
            let from = (number * HALF).min(octets.len());
            number += 1;
            let mut page = octets[from..octets.len().min(from + HALF)].to_vec();
            if let (1, Some(first)) = (number, page.first_mut()) {
                *first = identifier;
            }
            Ok::<_, String>(page)
        };
        let module = decode(&mut page).unwrap();
        prop_assert!(module.readings.iter().all(|reading| reading.value.is_finite()));
        prop_assert!(serde_json::from_str::<Module>(&serde_json::to_string(&module).unwrap()).is_ok());
    }
}
