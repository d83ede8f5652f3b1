import sys, time, math
import numpy as np, torch
from PIL import Image
from combiner_cli.families.pyramid import encoder, features as pf, levels
from combiner_cli.families.pyramid.decoder import descend
from combiner_cli.families.pyramid.encoder import ImageSimulation, _EncoderSource, PERCEPTUAL, levels_coarser
from combiner_cli.stages.encoding.simulation import SimulatedCoder
from combiner_cli.stages.integer_network import FEATURE_UNIT, dequantised, octaves as octaves_of, TENSORS, LARGEST_ACTIVATION
from combiner_cli.stages.moments import UNIT, OCTAVE
from combiner_cli.stages.shape import FLAT_PICTURE
from combiner_cli.learning.networks import evidence
from combiner_cli.signals.signal import Signal
from combiner_cli import priors as P
torch.set_num_threads(1)
mem=lambda n,s: np.empty(s,dtype=np.float32)
class Recorder:
    wants_means=True
    def __init__(s, inner, out): s.inner, s.out = inner, out
    def classes(s, level, chroma, frequencies, means):
        c = s.inner.classes(level, chroma, frequencies, means)
        net = pf.class_network(chroma)
        f, con = pf.class_features(level, chroma, level.all_units, mem)
        true = levels.unit_details(s.inner.plane.details[level.number][None], chroma)*s.inner._scale(level.number)
        s.out.setdefault((level.kind, net.name), []).append((f/np.float32(FEATURE_UNIT), con/UNIT, true, c, None))
        return c
    def weights(s, stage, level, moments):
        if level is not None:
            net = pf.stage_network(stage.number)
            parts=[pf.stage_features(level, stage.number, ph, level.all_units, mem) for ph in levels.stage_phases(stage.number)]
            f, con = (np.concatenate(p, axis=-1) for p in zip(*parts))
            true = s.inner._true(stage, level).reshape(net.outputs, -1)
            chroma = stage.number in levels.CHROMA_STAGES
            noises=[level.noise(ph, level.all_units, chroma) for ph in levels.stage_phases(stage.number)]
            noise = np.concatenate(noises)/OCTAVE if noises[0] is not None else np.zeros(1)
            s.out.setdefault((level.kind, net.name), []).append((f/np.float32(FEATURE_UNIT), con/UNIT, true, None, noise))
        return s.inner.weights(stage, level, moments)
T=lambda a: torch.from_numpy(np.ascontiguousarray(a, dtype=np.float32))
class Net:
    def __init__(s, prior, key, recs):
        kind, name = key
        s.key=key
        W={t: T(dequantised(t, prior.stored[f"{kind}.{name}.{t}"])) for t in TENSORS}
        s.W=W
        s.net=next(n for n in pf.NETWORKS if n.name==name)
        f=np.concatenate([r[0] for r in recs],1); s.f=T(f)
        s.con=T(np.concatenate([r[1] for r in recs])); s.true=T(np.concatenate([r[2] for r in recs],1))
        s.lcon=T(octaves_of(np.concatenate([r[1] for r in recs])))
        s.cls = torch.from_numpy(np.concatenate([r[3] for r in recs]).astype(np.int64)) if recs[0][3] is not None else None
        s.noise = None if s.cls is not None else T(np.concatenate([np.broadcast_to(r[4],r[1].shape) for r in recs]))
        s.p1 = W["first"]@s.f
        s.lin = W["linear"]@s.f[:W["linear"].shape[1]]
        s.n=len(s.con)
    def params(s):
        h,h2,o=len(s.W["first"]),len(s.W["second"]),len(s.W["third"])
        return {"b1":torch.zeros(h,1),"b2":torch.zeros(h2,1),"b3":torch.zeros(o,1),"g1":torch.zeros(h,1),"g2":torch.zeros(h2,1),"lin":torch.zeros_like(s.W["linear"]),"w3":torch.zeros_like(s.W["third"])}
    def cost(s, p, cols=slice(None), classmeans=True):
        W=s.W
        h=(s.p1[:,cols]+W["first_bias"][:,None]+p["b1"]).clamp(0,16)
        if "g1" in p: h=h*(1+p["g1"])
        h=(W["second"]@h+W["second_bias"][:,None]+p["b2"]).clamp(0,16)
        if "g2" in p: h=h*(1+p["g2"])
        w3=W["third"] if "w3" not in p else W["third"]+p["w3"]
        r=w3@h+W["third_bias"][:,None]+p["b3"]
        k=s.net.outputs
        m=(r[:k]+s.lin[:,cols])
        if "lin" in p: m=m+p["lin"]@s.f[:W["linear"].shape[1],cols]
        m=m*s.con[cols]; res=s.true[:,cols]-m
        if s.cls is not None:
            o=torch.log_softmax(r[k:]*math.log(2),0)/math.log(2)
            ent=-o.gather(0,s.cls[cols][None])[0]
            if classmeans: return ent.sum(), (0.5*k*torch.log2(1+(res**2).mean(0))).sum()
            return ent.sum(), torch.zeros(())
        oc=(r[k:]+s.lcon[cols]).clamp(-6,20)-s.noise[cols]
        return evidence(res/torch.exp2(s.noise[cols]), oc, 10.0).sum(), torch.zeros(())
def record(prior, picture, level, noise=FLAT_PICTURE):
    sim=ImageSimulation(prior, Signal("image", picture, None, 8), noise)
    out={}
    for plane in sim.planes:
        coder=SimulatedCoder()
        src=Recorder(_EncoderSource(prior, plane, level, noise, coder, raises=False), out)
        descend(prior, plane.shape, plane.colours, level, src, noise)
    return sim, {k: Net(prior,k,r) for k,r in sorted(out.items())}
def load_prior(name):
    from combiner_cli.priors import store
    return store
