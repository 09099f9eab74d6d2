//! Shares, losses and returns.

use super::*;

fn members(of: &[(u32, u16, bool)]) -> Vec<Member> {
    of.iter().map(|&(id, weight, usable)| member(id, weight, Role::Primary, usable)).collect()
}

fn member(id: u32, weight: u16, role: Role, usable: bool) -> Member {
    Member { adjacency: AdjacencyId(id), weight, role, usable }
}

fn count(buckets: &[AdjacencyId], id: u32) -> usize {
    buckets.iter().filter(|a| a.0 == id).count()
}

/// The buckets of a group of these members.
fn dealt(members: &[Member]) -> Vec<AdjacencyId> {
    let mut table = GroupTable::default();
    table.set(GroupId(1), members);
    table.buckets(GroupId(1)).to_vec()
}

#[test]
fn weights_are_dealt_to_buckets() {
    let mut table = GroupTable::default();
    table.set(GroupId(5), &members(&[(1, 3, true), (2, 1, true)]));
    let buckets = table.buckets(GroupId(5));
    assert_eq!(buckets.len(), BUCKETS);
    assert_eq!((count(buckets, 1), count(buckets, 2)), (48, 16));
    assert_eq!(table.members(GroupId(5)), [AdjacencyId(1), AdjacencyId(2)]);
}

#[test]
fn many_members_have_nearly_equal_shares() {
    for n in 2..=64_u32 {
        let buckets =
            dealt(&(1..=n).map(|id| member(id, 1, Role::Primary, true)).collect::<Vec<_>>());
        let each = (1..=n).map(|id| count(&buckets, id));
        let (least, most) = (each.clone().min().unwrap(), each.max().unwrap());
        assert!(most - least <= 1 && least >= 7, "{n} members: {least} to {most}");
        // 16 bits of a flow's number choose; all buckets are reached.
        let mut table = GroupTable::default();
        table.set(
            GroupId(1),
            &(1..=n).map(|id| member(id, 1, Role::Primary, true)).collect::<Vec<_>>(),
        );
        let way = table.way(GroupId(1));
        let chosen: Vec<_> = (0..1 << 16).map(|flow| table.choose(way, flow)).collect();
        assert_eq!(chosen[..buckets.len()], buckets);
        assert_eq!(table.members(GroupId(1)).len(), n as usize);
    }
}

#[test]
fn the_loss_of_a_member_moves_only_its_flows() {
    let mut table = GroupTable::default();
    table.set(GroupId(1), &members(&[(1, 1, true), (2, 2, true), (3, 1, true)]));
    let before = table.buckets(GroupId(1)).to_vec();
    table.set(GroupId(1), &members(&[(1, 1, true), (2, 2, false), (3, 1, true)]));
    let after = table.buckets(GroupId(1));
    assert_eq!((count(after, 1), count(after, 2), count(after, 3)), (32, 0, 32));
    for (old, new) in before.iter().zip(after) {
        assert!(old.0 == 2 || old == new);
    }
}

/// Every step between any two sets of usable members of a group of five, as losses and returns
/// one after another.
#[test]
fn a_loss_or_return_moves_only_the_flows_of_that_member_whoever_else_is_lost() {
    let with = |usable: u32| -> Vec<AdjacencyId> {
        let of = |(id, weight)| member(id, weight, Role::Primary, usable >> (id - 1) & 1 == 1);
        dealt(&(1..=5).zip(1..).map(of).collect::<Vec<_>>())
    };
    for usable in 1..32_u32 {
        for lost in (0..5).filter(|i| usable >> i & 1 == 1 && usable != 1 << i) {
            let (before, after) = (with(usable), with(usable & !(1 << lost)));
            assert_eq!(count(&after, lost + 1), 0);
            for (old, new) in before.iter().zip(&after) {
                assert!(old.0 == lost + 1 || old == new, "{usable:05b} without {lost}");
            }
        }
    }
}

#[test]
fn groups_that_differ_in_a_member_agree_about_most_flows_of_the_others() {
    let of = |ids: &[u32]| {
        dealt(&ids.iter().map(|&id| member(id, 1, Role::Primary, true)).collect::<Vec<_>>())
    };
    let (mut kept, mut all) = (0, 0);
    for base in 0..50 {
        let ids: Vec<u32> = (1..=4).map(|i| base * 7 + i).collect();
        for (old, new) in of(&ids).iter().zip(of(&ids[..3])) {
            if ids[..3].contains(&old.0) {
                all += 1;
                kept += usize::from(*old == new);
            }
        }
    }
    assert!(kept * 100 > all * 80, "{kept} of {all} buckets stayed");
}

#[test]
fn backups_carry_while_no_primary_is_usable() {
    let group = |a: bool, b: bool, c: bool| {
        let (primary, backup) = (Role::Primary, Role::Backup);
        let buckets =
            dealt(&[member(1, 1, primary, a), member(2, 1, primary, b), member(3, 1, backup, c)]);
        [count(&buckets, 1), count(&buckets, 2), count(&buckets, 3)]
    };
    assert_eq!(group(true, true, true), [32, 32, 0]);
    assert_eq!(group(true, false, true), [64, 0, 0]);
    assert_eq!(group(false, false, true), [0, 0, 64]);
    assert_eq!(group(false, false, false), [32, 32, 0], "the last resort is the primaries'");
}

#[test]
fn with_every_member_down_the_group_still_names_them() {
    let mut table = GroupTable::default();
    table.set(GroupId(1), &members(&[(1, 1, false), (2, 1, false)]));
    assert_eq!(count(table.buckets(GroupId(1)), 1), 32);
    assert_eq!(count(table.buckets(GroupId(1)), 2), 32);
}

#[test]
fn an_unknown_group_is_no_route() {
    let mut table = GroupTable::default();
    table.set(GroupId(3), &members(&[(7, 1, true)]));
    for id in [0, 1, 2, 99] {
        assert_eq!(table.buckets(GroupId(id)), &[AdjacencyId(0)]);
        assert_eq!(table.members(GroupId(id)), &[AdjacencyId(0)]);
    }
    table.set(GroupId(0), &members(&[(7, 1, true)]));
    assert_eq!(table.buckets(GroupId(0)), &[AdjacencyId(0)], "group 0 cannot be changed");
}

#[test]
fn room_is_used_again() {
    let mut table = GroupTable::default();
    let (one, two) = (members(&[(1, 1, true)]), members(&[(1, 1, true), (2, 1, true)]));
    for _ in 0..100 {
        table.set(GroupId(1), &one);
        table.set(GroupId(2), &two);
        table.set(GroupId(1), &two);
        table.set(GroupId(2), &one);
        assert_eq!(table.buckets(GroupId(2)), &[AdjacencyId(1)]);
        table.clear(GroupId(1));
        table.clear(GroupId(2));
        assert_eq!(table.buckets(GroupId(1)), &[AdjacencyId(0)]);
    }
    assert!(table.buckets.len() <= 2 * (BUCKETS + 2), "{}", table.buckets.len());
}
