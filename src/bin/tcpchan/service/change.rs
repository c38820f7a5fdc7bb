//! Starts a service, or makes another of one that runs. All that may fail is done first.

use std::sync::Arc;

use tokio::task::JoinSet;
use tracing::info;

use super::ending::Ending;
use super::hub::{self, Hub};
use super::publish;
use super::relay::{self, Relay};
use super::serve::{self, Serve};
use super::spec::{Mode, Spec};
use super::view::Running;
use crate::args;
use crate::explain::explain_listen;
use crate::failure::Problem;
use crate::label::Label;
use crate::net::{Listener, Listeners, Place};
use crate::reverse::Published;

/// A service that runs.
pub struct Service {
    kind: Kind,
    fronts: Vec<Front>,
}

#[derive(Clone)]
enum Kind {
    Relay(Arc<Relay>),
    /// Of `publish`, too.
    Serve(Arc<Serve>),
    Hub(Arc<Hub>),
}

/// What takes the clients of one address, or goes to a hub.
pub struct Front {
    pub place: Place,
    shape: Shape,
    pub ending: Arc<Ending>,
    /// As it is bound, if it listens.
    listens: Option<String>,
}

/// What of a front can't change while it runs.
#[derive(Clone, PartialEq, Eq)]
enum Shape {
    Relay,
    Serve(serve::Shape),
    Hub,
    Publish(Box<args::Way>),
}

/// A service that is ready to start, or to take the place of one that runs.
pub struct Change {
    spec: Spec,
    plan: Plan,
    published: Published,
    /// For the places where nothing is that can stay; none to go there.
    fronts: Vec<(Place, Option<Listener>)>,
}

enum Plan {
    Relay(relay::Plan),
    Serve(Box<serve::Plan>),
    Hub(hub::Plan),
}

impl Plan {
    fn new(spec: &Spec, old: Option<&Kind>, published: &Published) -> Result<Self, Problem> {
        let label = &spec.label;
        let relay = match old {
            Some(Kind::Relay(relay)) => Some(relay.plan()),
            _ => None,
        };
        let serve = match old {
            Some(Kind::Serve(serve)) => Some(serve.plan()),
            _ => None,
        };
        let (relay, serve) = (relay.as_deref(), serve.as_deref());
        Ok(match &spec.mode {
            Mode::Relay(args) => Plan::Relay(relay::Plan::new(label, args, relay, published)?),
            Mode::Serve(args) => Plan::Serve(Box::new(serve::Plan::new(label, args, serve)?)),
            Mode::Publish(args) => {
                Plan::Serve(Box::new(serve::Plan::dialling(label, args, serve)?))
            }
            Mode::Hub(args) => Plan::Hub(hub::Plan::new(args)?),
        })
    }

    /// What follows the plan: what is there, if it can.
    fn followed_by(self, label: &Label, kept: Option<Kind>, published: Published) -> Kind {
        match (self, kept) {
            (Plan::Relay(plan), Some(Kind::Relay(relay))) => {
                relay.change(plan);
                Kind::Relay(relay)
            }
            (Plan::Relay(plan), _) => Kind::Relay(Arc::new(Relay::new(label.clone(), plan))),
            (Plan::Serve(plan), Some(Kind::Serve(serve))) => {
                serve.change(*plan);
                Kind::Serve(serve)
            }
            (Plan::Serve(plan), _) => Kind::Serve(Arc::new(Serve::new(label.clone(), *plan))),
            (Plan::Hub(plan), Some(Kind::Hub(hub))) => {
                hub.change(plan);
                Kind::Hub(hub)
            }
            (Plan::Hub(plan), _) => Kind::Hub(Arc::new(Hub::new(label.clone(), plan, published))),
        }
    }
}

impl Change {
    /// Finds out whether the service could start, but for its addresses.
    pub fn check(spec: &Spec) -> Result<(), Problem> {
        Plan::new(spec, None, &Published::default()).map(drop)
    }

    /// Does what may fail. Nothing has changed then but the listeners that are there.
    pub async fn prepare(
        spec: Spec,
        old: Option<&Service>,
        listeners: &mut Listeners,
        published: &Published,
    ) -> Result<Self, Problem> {
        let plan = Plan::new(&spec, old.map(|old| &old.kind), published)?;
        let shape = Shape::of(&spec.mode);
        let mut fronts = Vec::new();
        for place in spec.places() {
            if old.is_some_and(|old| old.keeps(&place, &shape)) {
                continue;
            }
            if let Mode::Publish(_) = &spec.mode {
                fronts.push((place, None));
            } else {
                let all = listeners.take(&place).await.map_err(|error| {
                    let what = format!("can't listen on {}", place.address);
                    Problem::new("listen", explain_listen(&error)).of(what)
                })?;
                fronts.extend(all.into_iter().map(|one| (place.clone(), Some(one))));
            }
        }
        Ok(Change {
            spec,
            plan,
            published: published.clone(),
            fronts,
        })
    }

    pub fn label(&self) -> &Label {
        &self.spec.label
    }

    /// Starts it, instead of an old one. Its tasks tell whether they cut something off.
    pub fn commit(self, old: Option<Service>, tasks: &mut JoinSet<bool>) -> Service {
        let shape = Shape::of(&self.spec.mode);
        let places = self.spec.places();
        let (kept, mut fronts) = match old {
            None => (None, Vec::new()),
            Some(old) => (Some(old.kind), old.fronts),
        };
        fronts.retain(|front| {
            let stays = front.shape == shape && places.contains(&front.place);
            if !stays {
                front.ending.retire();
            }
            stays
        });
        let label = self.spec.label;
        let kind = self.plan.followed_by(&label, kept, self.published);
        for (place, listener) in self.fronts {
            let ending = Arc::new(Ending::new());
            let listens = listener.as_ref().map(Listener::to_string);
            if let Some(address) = &listens {
                info!(service = label.field(), address, "listening");
            }
            kind.start(&place, listener, &ending, tasks);
            fronts.push(Front {
                place,
                shape: shape.clone(),
                ending,
                listens,
            });
        }
        Service { kind, fronts }
    }
}

impl Kind {
    /// Starts a task for an address.
    fn start(
        &self,
        place: &Place,
        listener: Option<Listener>,
        ending: &Ending,
        tasks: &mut JoinSet<bool>,
    ) {
        let (told, open) = (ending.told(), ending.open());
        match (self.clone(), listener) {
            (Kind::Relay(relay), Some(listener)) => {
                tasks.spawn(relay.run(listener, told, open));
            }
            (Kind::Serve(serve), Some(listener)) => {
                let acceptor = serve.plan().acceptor(listener);
                tasks.spawn(serve.run(acceptor, told, open));
            }
            (Kind::Hub(hub), Some(listener)) => {
                tasks.spawn(hub.run(listener, told, open));
            }
            (Kind::Serve(serve), None) => {
                if let Some(acceptor) = publish::acceptor(&serve, &place.address) {
                    tasks.spawn(serve.run(acceptor, told, open));
                }
            }
            (Kind::Relay(_) | Kind::Hub(_), None) => {} // they listen
        }
    }
}

impl Shape {
    fn of(mode: &Mode) -> Self {
        match mode {
            Mode::Relay(_) => Shape::Relay,
            Mode::Serve(args) => Shape::Serve(serve::Shape::of(args)),
            Mode::Hub(_) => Shape::Hub,
            Mode::Publish(args) => Shape::Publish(Box::new(args.way.clone())),
        }
    }
}

impl Service {
    fn keeps(&self, place: &Place, shape: &Shape) -> bool {
        let fits = |front: &Front| front.place == *place && front.shape == *shape;
        self.fronts.iter().any(fits)
    }

    pub fn fronts(&self) -> impl Iterator<Item = &Front> {
        self.fronts.iter()
    }

    pub fn listens_on(&self, place: &Place) -> bool {
        self.fronts.iter().any(|front| front.place == *place)
    }

    /// Takes nobody any more; what is carried goes on.
    pub fn retire(self) {
        for front in self.fronts {
            front.ending.retire();
        }
    }

    /// Whether something is still on its way.
    pub fn carries(&self) -> bool {
        match &self.kind {
            Kind::Relay(relay) => relay.carries(),
            Kind::Serve(_) | Kind::Hub(_) => false, // their tasks end with the last byte
        }
    }

    pub fn running(&self) -> Running {
        let listen = self.fronts.iter().filter_map(|front| front.listens.clone());
        Running {
            view: match &self.kind {
                Kind::Relay(relay) => relay.clone(),
                Kind::Serve(serve) => serve.clone(),
                Kind::Hub(hub) => hub.clone(),
            },
            listen: listen.collect(),
        }
    }
}
